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

// Remove removes an image with all its tags and digests. An image that does not exist is no error.
// Containers keep running, because their snapshots hold the layers. Pinned images are removed, too:
// pinning is only a hint for the kubelet's garbage collection.
func (m *Manager) Remove(ctx context.Context, spec *runtimeapi.ImageSpec) error {
	ctx = namespaces.WithNamespace(ctx, namespace)
	img, err := m.find(ctx, spec.GetImage())
	if errdefs.IsNotFound(err) {
		names, _ := candidateNames(spec.GetImage())
		m.releaseStale(ctx, names...) // an earlier pull may have left content
		return nil
	}
	if err != nil {
		return err
	}
	for i, name := range removalOrder(img) {
		// The deletion of the last name waits until containerd has freed the disk space: the
		// kubelet's garbage collection measures the freed space.
		var opts []images.DeleteOpt
		if i == len(img.Names)-1 {
			opts = append(opts, images.SynchronousDelete())
		}
		if err := m.deleteRecord(ctx, name, opts...); err != nil {
			return fmt.Errorf("image %s: removal of %s: %w", img.ID, name, err)
		}
	}
	m.releaseStale(ctx, img.Names...)
	log.G(ctx).WithField("image", img.ID).Info("image removed")
	return nil
}

// removalOrder returns the names of an image with its id last, so that an image whose removal was
// interrupted can still be found, and removed, by its id.
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

// deleteRecord deletes one image record from containerd and from the index.
func (m *Manager) deleteRecord(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	if err := m.deps.Images.Delete(ctx, name, opts...); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	if err := m.index.refresh(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		// No error: the record itself is deleted.
		log.G(ctx).WithField("image", name).WithError(err).Debug("image index not refreshed; the event of the removal will update it")
	}
	return nil
}
