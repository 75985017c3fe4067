// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// snapshotLease is the id of the lease of our snapshots. A snapshot is there before
// the container that refers to it, and must not be collected as garbage until
// then. One lease for all costs nothing: a snapshot enters and leaves it in the
// transaction that makes or removes the snapshot.
const snapshotLease = "containerd-lite.snapshots"

// leased returns a context whose snapshots enter the lease, and leave it.
func leased(ctx context.Context) context.Context { return leases.WithLease(ctx, snapshotLease) }

// RenewLease ends the lease of snapshots that the daemon before this one had, waits
// until what only it kept is collected, and makes a new one. It is called before
// the first snapshot is made.
func (c *Client) RenewLease(ctx context.Context) error {
	old := leases.Lease{ID: snapshotLease}
	if err := c.containerd.LeasesService().Delete(ctx, old, leases.SynchronousDelete); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete lease %s: %w", snapshotLease, err)
	}
	return c.makeLease(ctx)
}

// makeLease makes the lease of snapshots. It is errdefs.ErrAlreadyExists if there
// is one.
func (c *Client) makeLease(ctx context.Context) error {
	if _, err := c.containerd.LeasesService().Create(ctx, leases.WithID(snapshotLease)); err != nil {
		return fmt.Errorf("create lease %s: %w", snapshotLease, err)
	}
	return nil
}
