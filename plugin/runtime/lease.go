// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// snapshotLease is the ID of the lease for our snapshots. A snapshot is created before the
// container that refers to it, and must not be garbage-collected in between. All snapshots share
// one lease, which costs nothing: the transaction that creates or removes a snapshot also updates
// the lease.
const snapshotLease = "containerd-lite.snapshots"

// leased returns a context in which created snapshots are added to the lease, and removed ones are
// removed from it.
func leased(ctx context.Context) context.Context { return leases.WithLease(ctx, snapshotLease) }

// unlease removes from the lease the snapshots to which the labels of a container refer. Another
// CRI plugin that removes the container does not know the lease.
func (c *Client) unlease(ctx context.Context, snapshotter string, keys []string) error {
	for _, key := range keys {
		held := leases.Resource{ID: key, Type: "snapshots/" + snapshotter}
		err := c.containerd.LeasesService().DeleteResource(ctx, leases.Lease{ID: snapshotLease}, held)
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("lease %s: remove snapshot %s: %w", snapshotLease, key, err)
		}
	}
	return nil
}

// RenewLease deletes the lease of the previous run of the daemon, waits until the snapshots that
// only this lease kept are garbage-collected, and creates a new one. It must be called before the
// first snapshot is created.
func (c *Client) RenewLease(ctx context.Context) error {
	old := leases.Lease{ID: snapshotLease}
	if err := c.containerd.LeasesService().Delete(ctx, old, leases.SynchronousDelete); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete lease %s: %w", snapshotLease, err)
	}
	return c.makeLease(ctx)
}

// makeLease creates the lease. The error is errdefs.ErrAlreadyExists if it exists.
func (c *Client) makeLease(ctx context.Context) error {
	if _, err := c.containerd.LeasesService().Create(ctx, leases.WithID(snapshotLease)); err != nil {
		return fmt.Errorf("create lease %s: %w", snapshotLease, err)
	}
	return nil
}
