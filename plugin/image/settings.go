// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/semaphore"
)

// settings are valid Options. They are immutable, and [Manager.Prepare] replaces them.
type settings struct {
	Options
	pinned    map[string]bool
	access    access
	downloads *semaphore.Weighted // nil for the limit of the transfer service
	// generation changes with the access to registries. A pull does not join one of another
	// generation: its registry may be the one that was just corrected.
	generation int
}

func newSettings(opts Options, deps Deps) (*settings, error) {
	for _, name := range opts.snapshotters() {
		if deps.Snapshotter(name) == nil {
			return nil, fmt.Errorf("snapshotter %s: not loaded (see `ctr plugins ls`): %w", name, errdefs.ErrNotFound)
		}
	}
	access, err := newAccess(&opts.Registries)
	if err != nil {
		return nil, err
	}
	if opts.Annotated == nil {
		opts.Annotated = func(string) bool { return false }
	}
	opts.ContentRoot = nearestExisting(opts.ContentRoot)
	opts.SnapshotRoots = maps.Clone(opts.SnapshotRoots)
	for name, root := range opts.SnapshotRoots {
		opts.SnapshotRoots[name] = nearestExisting(root)
	}
	s := &settings{Options: opts, pinned: pinnedNames(opts.Pinned), access: access}
	if opts.MaxConcurrentDownloads > 0 {
		s.downloads = semaphore.NewWeighted(int64(opts.MaxConcurrentDownloads))
	}
	return s, nil
}

// Prepare returns a function that replaces the Options, or the reason why they are not valid.
// StatsPeriod stays as it is. Pulls in progress keep their Options. The function returns an error
// if the pin of an image could not be removed; the next one tries again. A pin that could not be
// added is only logged. Only one of the functions may run at a time.
func (m *Manager) Prepare(opts Options) (apply func(context.Context) error, err error) {
	next, err := newSettings(opts, m.deps)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		ctx = namespaces.WithNamespace(ctx, namespace)
		former := m.live.Load()
		next.generation = former.generation
		if !reflect.DeepEqual(former.Registries, next.Registries) {
			next.generation++
		}
		m.live.Store(next)
		maps.Copy(m.unpinned, former.pinned)
		for name := range next.pinned {
			delete(m.unpinned, name)
			m.adopt(ctx, name)
		}
		return m.unpinAll(ctx)
	}, nil
}

// unpinAll unpins the images that are not pinned any more. The next reload tries again with those
// that it could not unpin.
func (m *Manager) unpinAll(ctx context.Context) error {
	var problems []error
	for name := range m.unpinned {
		err := m.unpin(ctx, name)
		if err == nil {
			delete(m.unpinned, name)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// unpin removes the pinned label of name after a reload. If another name of the image is still
// pinned, only the record of name loses the label; otherwise the records of all names do.
func (m *Manager) unpin(ctx context.Context, name string) error {
	img := m.index.view.Load().byName[name]
	if img == nil {
		return nil
	}
	names := img.Names
	if slices.ContainsFunc(names, func(other string) bool { return m.live.Load().pinned[other] }) {
		names = []string{name}
	}
	for _, record := range names {
		_, err := m.deps.Images.Update(ctx, images.Image{Name: record}, "labels."+labelPinned)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err = errors.Join(err, m.index.refresh(ctx, record)); err != nil {
			return fmt.Errorf("unpin image %s: %w", record, err)
		}
	}
	return nil
}

// snapshotters returns the configured snapshotters, the default one first.
func (o *Options) snapshotters() []string {
	names := []string{o.Snapshotter}
	for _, name := range o.HandlerSnapshotters {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	return names
}
