// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
)

// Labels of image records. The built-in CRI and other tools read them.
const (
	labelManaged = "io.cri-containerd.image"
	labelPinned  = "io.cri-containerd.pinned"

	valueManaged = "managed"
	valuePinned  = "pinned"
)

// index mirrors containerd's image records in memory. Every change reads the record from containerd
// again under mu. So changes may come in any order: the last one has read the newest state.
type index struct {
	store   images.Store
	content content.InfoReaderProvider

	mu    sync.Mutex                // one writer; held while containerd is read
	names map[string]record         // guarded by mu
	view  atomic.Pointer[imageView] // built from names; readers load it without mu
}

// record is one name of an image.
type record struct {
	content *Image // without names
	labels  map[string]string
}

// imageView is an immutable snapshot of the index.
type imageView struct {
	byName map[string]*Image
	byID   map[string]*Image
	list   []*Image // sorted by id
}

func newIndex(store images.Store, content content.InfoReaderProvider) *index {
	ix := &index{store: store, content: content, names: map[string]record{}}
	ix.view.Store(newView(nil))
	return ix
}

// rebuild reads all image records. It skips records whose content is incomplete or invalid: such an
// image cannot run, and must not make the list of the others fail.
func (ix *index) rebuild(ctx context.Context) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	all, err := ix.store.List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	found := make(map[string]bool, len(all))
	for _, img := range all {
		content, err := ix.loadLocked(ctx, img)
		if err != nil {
			log.G(ctx).WithField("image", img.Name).WithError(err).Debug("image skipped: its content is incomplete or not an image")
			continue
		}
		found[img.Name] = true
		ix.names[img.Name] = record{content: content, labels: img.Labels}
	}
	maps.DeleteFunc(ix.names, func(name string, _ record) bool { return !found[name] })
	ix.view.Store(newView(ix.names))
	return nil
}

// refresh reads the record of one name again. If the record or its content is gone, refresh removes
// the name from the index and returns NotFound.
func (ix *index) refresh(ctx context.Context, name string) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	img, err := ix.store.Get(ctx, name)
	if err != nil && !errdefs.IsNotFound(err) {
		return err // the image may still exist
	}
	rec := record{labels: img.Labels}
	if err == nil {
		rec.content, err = ix.loadLocked(ctx, img)
	}
	if ctx.Err() != nil {
		return ctx.Err() // the image may still exist
	}
	old, indexed := ix.names[name]
	switch {
	case err != nil && !indexed, err == nil && indexed && old.same(rec):
		return err // no change
	case err != nil:
		delete(ix.names, name)
	default:
		ix.names[name] = rec
	}
	ix.view.Store(newView(ix.names))
	return err
}

func (r record) same(other record) bool {
	return r.content == other.content && maps.Equal(r.labels, other.labels)
}

// loadLocked returns the content of an image. It reads containerd only if no indexed name has the
// same target.
func (ix *index) loadLocked(ctx context.Context, img images.Image) (*Image, error) {
	for _, rec := range ix.names {
		if rec.content.Target.Digest == img.Target.Digest {
			return rec.content, nil
		}
	}
	return load(ctx, ix.content, img.Target)
}

// record returns the record of a name.
func (ix *index) record(name string) (record, bool) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	rec, ok := ix.names[name]
	return rec, ok
}

// newView groups names by image. If several targets have the same config, the target of the record
// for the id is used.
func newView(names map[string]record) *imageView {
	v := &imageView{byName: make(map[string]*Image, len(names)), byID: map[string]*Image{}}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rec := names[name]
		id := rec.content.ID
		img := v.byID[id]
		if img == nil {
			unnamed := *rec.content
			if byID, ok := names[id]; ok && byID.content.ID == id {
				unnamed = *byID.content
			}
			img = &unnamed
			v.byID[id] = img
			v.list = append(v.list, img)
		}
		img.Names = append(img.Names, name)
		img.Pinned = img.Pinned || rec.labels[labelPinned] == valuePinned
		v.byName[name] = img
	}
	for _, img := range v.list {
		img.Tags, img.Digests = splitNames(img.Names)
	}
	slices.SortFunc(v.list, func(a, b *Image) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// withPrefix returns the image whose id starts with these hexadecimal digits; nil if there is none,
// an error if there are several.
func (v *imageView) withPrefix(hex string) (*Image, error) {
	var found *Image
	for _, img := range v.list {
		if !strings.HasPrefix(digest.Digest(img.ID).Encoded(), hex) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("image %q: id prefix matches several images (use more digits): %w", hex, errdefs.ErrInvalidArgument)
		}
		found = img
	}
	return found, nil
}
