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
	// leaseExpiry is the time after which containerd may collect the content of a pull that a
	// daemon did not finish.
	leaseExpiry = 24 * time.Hour
	// leaseLabel has the name of the image that is pulled under the lease.
	leaseLabel = "containerd-lite.pull"
)

// lease returns a context with a new lease: containerd keeps the content and snapshots that are
// created with this context until release is called.
func (m *Manager) lease(ctx context.Context, name string) (_ context.Context, release func(), _ error) {
	l, err := m.deps.Leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseExpiry), leases.WithLabel(leaseLabel, name))
	if err != nil {
		return nil, nil, fmt.Errorf("lease: %w", err)
	}
	return leases.WithLease(ctx, l.ID), func() { m.release(ctx, l) }, nil
}

// release deletes the lease of a pull, whether the pull succeeded or not.
func (m *Manager) release(ctx context.Context, l leases.Lease, opts ...leases.DeleteOpt) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := m.deps.Leases.Delete(ctx, l, opts...); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithField("lease", l.ID).WithError(err).Warn("lease of a pull not deleted; containerd keeps its content until the lease expires")
	}
}

// staleLeases are the leases of pulls that an earlier daemon did not finish, by the name of the
// image. They keep the fetched content for the next pull. They are deleted when the next pull has
// succeeded or the image is removed.
type staleLeases struct {
	mu     sync.Mutex
	leases map[string][]leases.Lease
}

// load lists the leases before the first pull of this daemon.
func (s *staleLeases) load(ctx context.Context, store LeaseStore) error {
	left, err := store.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return fmt.Errorf("list leases of unfinished pulls: %w", err)
	}
	s.leases = map[string][]leases.Lease{}
	for _, l := range left {
		name := l.Labels[leaseLabel]
		s.leases[name] = append(s.leases[name], l)
	}
	return nil
}

// take removes the leases of an image from the table and returns them.
func (s *staleLeases) take(name string) []leases.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.leases[name]
	delete(s.leases, name)
	return taken
}

// releaseStale deletes the leases that earlier daemons left for pulls of these images. It waits
// until containerd has freed the disk space.
func (m *Manager) releaseStale(ctx context.Context, names ...string) {
	for _, name := range names {
		for _, l := range m.stale.take(name) {
			m.release(ctx, l, leases.SynchronousDelete)
		}
	}
}
