// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Snapshot is the writable layer of a container, or of an image volume.
type Snapshot struct {
	Key         string
	Snapshotter string
	Parent      digest.Digest // chain ID of the unpacked image
	// UIDs and GIDs are the mappings of the container's user namespace, if it has one. The
	// snapshotter maps the owners of the files by them.
	UIDs, GIDs []specs.LinuxIDMapping
}

// remapIDs is the capability of a snapshotter that can map the owners of files.
const remapIDs = "remap-ids"

// PrepareSnapshot creates a snapshot and returns its mounts. The snapshot exists until
// RemoveSnapshot, or until the next RenewLease if no container refers to it.
func (c *Client) PrepareSnapshot(ctx context.Context, s Snapshot) ([]mount.Mount, error) {
	defer onDisk(ctx, "prepare snapshot", s.Key)()
	var opts []snapshots.Opt
	if len(s.UIDs) > 0 {
		can, err := c.containerd.GetSnapshotterCapabilities(ctx, s.Snapshotter)
		if err != nil {
			return nil, fmt.Errorf("snapshotter %s: capabilities: %w", s.Snapshotter, err)
		}
		if !slices.Contains(can, remapIDs) {
			return nil, fmt.Errorf("snapshotter %s cannot map owners of files on this kernel, which a user namespace needs: %w",
				s.Snapshotter, errdefs.ErrFailedPrecondition)
		}
		opts = append(opts, containerd.WithUserNSRemapperLabels(s.UIDs, s.GIDs))
	}
	snapshotter := c.containerd.SnapshotService(s.Snapshotter)
	mounts, err := snapshotter.Prepare(leased(ctx), s.Key, s.Parent.String(), opts...)
	if errdefs.IsNotFound(err) && c.makeLease(ctx) == nil { // the lease was deleted
		mounts, err = snapshotter.Prepare(leased(ctx), s.Key, s.Parent.String(), opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshotter %s: %w", s.Snapshotter, err)
	}
	return mounts, nil
}

// RemoveSnapshot removes a snapshot. It is no error if it does not exist. Its files are removed by
// containerd's next garbage collection.
func (c *Client) RemoveSnapshot(ctx context.Context, snapshotter, key string) error {
	defer onDisk(ctx, "remove snapshot", key)()
	err := c.containerd.SnapshotService(snapshotter).Remove(leased(ctx), key)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("snapshot %s in %s: %w", key, snapshotter, err)
	}
	return nil
}
