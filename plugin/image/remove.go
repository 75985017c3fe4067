// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Remove removes an image with all its tags and digests; an image that is not
// there is removed already. Containers keep running: their snapshots hold the
// layers. Pinned images go too, being pinned is advice to the garbage collector.
func (m *Manager) Remove(ctx context.Context, spec *runtimeapi.ImageSpec) error {
	ctx = namespaces.WithNamespace(ctx, namespace)
	img, err := m.find(ctx, spec.GetImage())
	if errdefs.IsNotFound(err) {
		names, _ := spellings(spec.GetImage())
		m.forsake(ctx, names...) // a pull may have begun
		return nil
	}
	if err != nil {
		return err
	}
	for i, name := range removalOrder(img) {
		// Deleting the last name waits until containerd has freed the disk: the
		// kubelet's garbage collection measures what it has gained.
		var opts []images.DeleteOpt
		if i == len(img.Names)-1 {
			opts = append(opts, images.SynchronousDelete())
		}
		if err := m.forget(ctx, name, opts...); err != nil {
			return fmt.Errorf("image %s: removal of %s: %w", img.ID, name, err)
		}
	}
	m.forsake(ctx, img.Names...)
	log.G(ctx).WithField("image", img.ID).Info("image removed")
	return nil
}

// removalOrder is an image's names with its id last: what an interrupted removal
// leaves can still be found, and removed, by its id.
func removalOrder(img *Image) []string {
	names := slices.Clone(img.Names)
	slices.SortStableFunc(names, func(a, b string) int {
		switch img.ID {
		case a:
			return 1
		case b:
			return -1
		default:
			return 0
		}
	})
	return names
}

// forget deletes one image record from containerd and from the index.
func (m *Manager) forget(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	if err := m.deps.Images.Delete(ctx, name, opts...); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if err := m.index.refresh(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		// The record is gone all the same, and its event will reach the index.
		log.G(ctx).WithField("image", name).WithError(err).Debug("index of images is late")
	}
	return nil
}
