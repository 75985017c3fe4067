// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

// Unpack unpacks an image in a snapshotter if it is not unpacked there yet. This is needed if the
// image was pulled for another runtime handler or by another tool. It returns NotFound if the
// snapshotter or the content of a layer is missing.
func (m *Manager) Unpack(ctx context.Context, img Image, snapshotter string) error {
	ctx = namespaces.WithNamespace(ctx, namespace)
	if err := m.unpack(ctx, &img, snapshotter); err != nil {
		return fmt.Errorf("image %s: %w", img.Name(), err)
	}
	return nil
}

func (m *Manager) unpack(ctx context.Context, img *Image, snapshotter string) error {
	if img.ChainID == "" {
		return nil // no layers
	}
	sn := m.deps.Snapshotter(snapshotter)
	if sn == nil {
		return fmt.Errorf("unpack: snapshotter %s is not loaded: %w", snapshotter, errdefs.ErrNotFound)
	}
	_, err := sn.Stat(ctx, img.ChainID.String())
	if errdefs.IsNotFound(err) {
		err = m.handle(img).Unpack(ctx, snapshotter, client.WithUnpackApplyOpts(diff.WithSyncFs(m.live.Load().SyncLayers)))
	}
	if err != nil {
		return fmt.Errorf("unpack with snapshotter %s: %w", snapshotter, err)
	}
	return nil
}
