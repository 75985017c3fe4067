// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

const (
	// leaseLabel marks our leases. An empty value would not be kept.
	leaseLabel = "containerd-lite.io/lease"
	// leaseExpiry ends the lease of a daemon that never came back.
	leaseExpiry = 24 * time.Hour
)

// Lease returns a context in which everything made is kept from containerd's
// garbage collection until release is called.
func (c *Client) Lease(ctx context.Context) (leased context.Context, release func(context.Context) error, err error) {
	leased, release, err = c.containerd.WithLease(ctx,
		leases.WithRandomID(), leases.WithExpiration(leaseExpiry), leases.WithLabel(leaseLabel, "create"))
	if err != nil {
		return nil, nil, fmt.Errorf("create lease: %w", err)
	}
	return leased, release, nil
}

// EndLeases ends the leases that a daemon before this one did not live to
// release, and waits until what only they kept is collected. Nobody may hold one.
func (c *Client) EndLeases(ctx context.Context) error {
	store := c.containerd.LeasesService()
	left, err := store.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for i, l := range left {
		var opts []leases.DeleteOpt
		if i == len(left)-1 {
			opts = append(opts, leases.SynchronousDelete)
		}
		if err := store.Delete(ctx, l, opts...); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete lease %s: %w", l.ID, err)
		}
	}
	return nil
}
