// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
)

// PrepareSnapshot makes the writable layer of a container on top of image and
// returns the mounts of its root file system. An image that is not unpacked for
// this snapshotter is unpacked first.
func (c *Client) PrepareSnapshot(ctx context.Context, key string, image Image, snapshotter string) ([]mount.Mount, error) {
	layers, err := image.RootFS(ctx)
	if err != nil {
		return nil, fmt.Errorf("layers of %s: %w", image.Name(), err)
	}
	parent := identity.ChainID(layers).String()
	service := c.containerd.SnapshotService(snapshotter)
	mounts, err := service.Prepare(ctx, key, parent)
	if errdefs.IsNotFound(err) {
		if err := image.Unpack(ctx, snapshotter); err != nil {
			return nil, fmt.Errorf("unpack %s with snapshotter %s: %w", image.Name(), snapshotter, err)
		}
		mounts, err = service.Prepare(ctx, key, parent)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshotter %s: %w", snapshotter, err)
	}
	return mounts, nil
}

// RemoveSnapshot removes a snapshot; one that does not exist is fine. Its files
// go with containerd's next garbage collection.
func (c *Client) RemoveSnapshot(ctx context.Context, snapshotter, key string) error {
	err := c.containerd.SnapshotService(snapshotter).Remove(ctx, key)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("snapshot %s in %s: %w", key, snapshotter, err)
	}
	return nil
}
