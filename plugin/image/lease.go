// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

const (
	// leaseExpiry is when containerd may collect the content of a pull that the
	// daemon did not live to finish.
	leaseExpiry = 24 * time.Hour
	// leaseLabel has the name of the image that is pulled under a lease.
	leaseLabel = "containerd-lite.pull"
)

// lease returns a context whose content and snapshots are kept until release.
func (m *Manager) lease(ctx context.Context, name string) (_ context.Context, release func(), _ error) {
	l, err := m.deps.Leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseExpiry), leases.WithLabel(leaseLabel, name))
	if err != nil {
		return nil, nil, fmt.Errorf("lease: %w", err)
	}
	return leases.WithLease(ctx, l.ID), func() { m.release(ctx, l) }, nil
}

// release deletes the lease of a pull, which needs it no more however it ended.
func (m *Manager) release(ctx context.Context, l leases.Lease, opts ...leases.DeleteOpt) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := m.deps.Leases.Delete(ctx, l, opts...); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithField("lease", l.ID).WithError(err).Warn("lease of a pull stays until it expires")
	}
}

// abandoned are the leases of pulls that an earlier daemon did not live to finish,
// by the name of the image. They keep what was fetched for the next pull; when that
// has succeeded, or the image is removed, nobody needs them.
type abandoned struct {
	mu     sync.Mutex
	leases map[string][]leases.Lease
}

// find lists the leases before the first pull of this daemon.
func (a *abandoned) find(ctx context.Context, store LeaseStore) error {
	left, err := store.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("leases of unfinished pulls: %w", err)
	}
	a.leases = map[string][]leases.Lease{}
	for _, l := range left {
		name := l.Labels[leaseLabel]
		a.leases[name] = append(a.leases[name], l)
	}
	return nil
}

// take returns the leases of an image, once.
func (a *abandoned) take(name string) []leases.Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.leases[name]
	delete(a.leases, name)
	return taken
}

// forsake deletes what earlier daemons left of pulls of images, and waits until
// containerd has freed their disk.
func (m *Manager) forsake(ctx context.Context, names ...string) {
	for _, name := range names {
		for _, l := range m.abandoned.take(name) {
			m.release(ctx, l, leases.SynchronousDelete)
		}
	}
}
