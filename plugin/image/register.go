// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// undoTimeout bounds the clean-up after a pull, which must not depend on the
// patience of its callers.
const undoTimeout = 10 * time.Second

// labelsFor returns the labels of an image record under this name.
func (m *Manager) labelsFor(name string) map[string]string {
	labels := map[string]string{labelManaged: valueManaged}
	if m.pinned[name] {
		labels[labelPinned] = valuePinned
	}
	return labels
}

// register records an image under all of the names, or under none that is new.
func (m *Manager) register(ctx context.Context, names []string, target ocispec.Descriptor, labels map[string]string) error {
	var created []string
	for _, name := range names {
		isNew, err := m.put(ctx, images.Image{Name: name, Target: target, Labels: labels})
		if err != nil {
			m.unregister(ctx, created)
			return fmt.Errorf("record of %s: %w", name, err)
		}
		if isNew {
			created = append(created, name)
		}
	}
	for _, name := range names {
		if err := m.index.refresh(ctx, name); err != nil {
			return fmt.Errorf("record of %s: %w", name, err)
		}
	}
	return nil
}

// unregister takes back the records of a registration that went wrong.
func (m *Manager) unregister(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, name := range names {
		if err := m.forget(ctx, name); err != nil {
			log.G(ctx).WithField("image", name).WithError(err).Warn("record of a failed pull stays")
		}
	}
}

// put creates an image record or points it to the target and adds the labels;
// labels of other tools stay.
func (m *Manager) put(ctx context.Context, img images.Image) (created bool, err error) {
	for {
		_, err := m.deps.Images.Create(ctx, img)
		if err == nil || !errdefs.IsAlreadyExists(err) {
			return err == nil, err
		}
		have, err := m.deps.Images.Get(ctx, img.Name)
		if err == nil {
			if have.Target.Digest == img.Target.Digest && hasLabels(have.Labels, img.Labels) {
				return false, nil
			}
			fields := []string{"target"}
			for key := range img.Labels {
				fields = append(fields, "labels."+key)
			}
			_, err = m.deps.Images.Update(ctx, img, fields...)
		}
		if !errdefs.IsNotFound(err) {
			return false, err
		}
		// Removed since Create: create it again.
	}
}

// adopt makes an image that another tool brought (ctr, nerdctl, an import) one
// of ours: it gets a record for its id, which keeps its content when the tag
// moves on, and the labels by which tools tell it from a stray one.
func (m *Manager) adopt(ctx context.Context, name string) {
	rec, ok := m.index.record(name)
	labels := m.labelsFor(name)
	if !ok || hasLabels(rec.labels, labels) {
		return
	}
	if err := m.register(ctx, []string{rec.content.ID, name}, rec.content.Target, labels); err != nil {
		log.G(ctx).WithField("image", name).WithError(err).Warn("image stays unlabelled")
	}
}

// hasLabels tells whether have includes all of want.
func hasLabels(have, want map[string]string) bool {
	for key, value := range maps.All(want) {
		if have[key] != value {
			return false
		}
	}
	return true
}
