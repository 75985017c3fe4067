// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// ReleaseStrays tears down pods that crashes left: those whose Run did not end, and removed pods
// that reappeared after a power failure. A record is on the disk when the call that changed it has
// returned; a file that was removed is back if the file system had not written that down, which
// takes it seconds. The address of such a pod would be in use for ever.
//
// It is called when the CRI serves, as CNI plugins may need pods that the CRI has to start.
func (m *Manager) ReleaseStrays(ctx context.Context, strays []*Record) {
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, r := range strays {
		group.Go(guard.Func(ctx, "release pod "+r.ID, func() error {
			if r.State == Creating {
				defer m.undoing.done(r.Name)
				m.abandon(ctx, r)
				return nil
			}
			m.releaseStray(ctx, r)
			return nil
		}))
	}
	_ = group.Wait() // a panic, which is logged
}

// Strays are the pods that should have nothing, and may have files or a network: those whose Run a
// crash ended, those that are stopped, and those without a record. It is for the time after
// [Manager.Recover] in which pods neither come nor go.
func (m *Manager) Strays(ctx context.Context) ([]*Record, error) {
	ids, err := m.Files.IDs()
	if err != nil {
		return nil, fmt.Errorf("pod files: %w", err)
	}
	attached, err := m.Network.Attached()
	if err != nil {
		return nil, err
	}
	for id, netns := range attached {
		if ns := m.planNetwork(id); ns.Net == netns && !m.Namespaces.Pinned(ns) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	records := map[string]*Record{}
	for _, r := range m.pods.List() {
		records[r.ID] = r
	}
	strays := m.pods.Select(func(r *Record) bool { return r.State == Creating })
	for _, id := range slices.Compact(ids) {
		if r, found := records[id]; found {
			if r.State == Stopped {
				strays = append(strays, r)
			}
			continue
		}
		known, err := m.Records.Knows(ctx, id)
		if err != nil {
			return nil, err
		}
		if !known {
			strays = append(strays, &Record{ID: id, Namespaces: m.planNetwork(id)})
		}
	}
	return strays, nil
}

// planNetwork is where the network namespace of a pod is, should it have one. No
// other runtime has its namespaces there.
func (m *Manager) planNetwork(id string) network.Namespaces {
	return m.Namespaces.Plan(network.PinOptions{ID: id, Net: true})
}

func (m *Manager) releaseStray(ctx context.Context, r *Record) {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	logger := log.G(ctx).WithField("pod", r.ID)
	if _, err := m.tearDown(ctx, r, nil); err != nil {
		logger.WithError(err).Error("leftover network or files of a removed pod not cleaned up; will retry at next start")
		return
	}
	logger.Warn("cleaned up network or files of a removed pod, which reappeared as after a power failure")
}

// undoing are the names of pods whose Run a crash ended, until they are torn down. A Run of the
// same pod waits for that.
type undoing struct {
	mu     sync.Mutex
	byName map[string]chan struct{} // closed when the pod is torn down
}

func (u *undoing) add(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byName == nil {
		u.byName = make(map[string]chan struct{})
	}
	u.byName[name] = make(chan struct{})
}

func (u *undoing) done(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if over, found := u.byName[name]; found {
		close(over)
		delete(u.byName, name)
	}
}

func (u *undoing) wait(ctx context.Context, name string) error {
	u.mu.Lock()
	over, found := u.byName[name]
	u.mu.Unlock()
	if !found {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the rollback of a run that a crash ended: %w", ctx.Err())
	}
}
