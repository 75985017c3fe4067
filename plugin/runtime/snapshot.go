// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// PrepareSnapshot makes the writable layer of a container on top of an unpacked
// image, given by its chain id, and returns the mounts of its root file system.
func (c *Client) PrepareSnapshot(ctx context.Context, key string, parent digest.Digest, snapshotter string) ([]mount.Mount, error) {
	mounts, err := c.containerd.SnapshotService(snapshotter).Prepare(ctx, key, parent.String())
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
