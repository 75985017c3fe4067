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

// undoTimeout bounds the rollback and cleanup after a pull, which do not depend on the contexts of
// its callers.
const undoTimeout = 10 * time.Second

// labelsFor returns the labels of the image record with this name.
func (m *Manager) labelsFor(name string) map[string]string {
	labels := map[string]string{labelManaged: valueManaged}
	if m.live.Load().pinned[name] {
		labels[labelPinned] = valuePinned
	}
	return labels
}

// register creates or updates the records of an image. If it fails, it deletes the records that it
// created.
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

// unregister deletes the records that a failed registration created.
func (m *Manager) unregister(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, name := range names {
		if err := m.deleteRecord(ctx, name); err != nil {
			log.G(ctx).WithField("image", name).WithError(err).Warn("rollback of a failed pull is incomplete; remove the image")
		}
	}
}

// put creates an image record, or updates its target and adds the labels. Labels of other tools are
// kept.
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
		// The record was removed after Create: create it again.
	}
}

// adopt labels an image of another tool (ctr, nerdctl, an import) as managed by the CRI, and
// creates the record for its id. That record keeps the content when the tag moves to another image.
func (m *Manager) adopt(ctx context.Context, name string) {
	rec, ok := m.index.record(name)
	labels := m.labelsFor(name)
	if !ok || hasLabels(rec.labels, labels) {
		return
	}
	if err := m.register(ctx, []string{rec.content.ID, name}, rec.content.Target, labels); err != nil {
		log.G(ctx).WithField("image", name).WithError(err).Warn("image of another tool not adopted; will retry when it changes or the daemon restarts")
	}
}

// hasLabels reports whether have includes all of want.
func hasLabels(have, want map[string]string) bool {
	for key, value := range maps.All(want) {
		if have[key] != value {
			return false
		}
	}
	return true
}
