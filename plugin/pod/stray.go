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

// TearDownStrays tears down strays: pods whose Run was interrupted by a crash, and removed pods
// that reappeared after a power failure. A record is on the disk when the call that changed it has
// returned, but the removal of a file is not: the file system writes it within seconds, and a power
// failure before that restores the file. Without the teardown the addresses of such pods would stay
// allocated.
//
// It is called when the CRI is ready, because a CNI plugin may need a pod that the kubelet has to
// start.
func (m *Manager) TearDownStrays(ctx context.Context, strays []*Record) {
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, r := range strays {
		group.Go(guard.Func(ctx, "tear down pod "+r.ID, func() error {
			if r.State == Creating {
				defer m.rollbacks.done(r.Name)
				m.rollBack(ctx, r)
				m.releaser.killAbandonedShim(ctx, r)
				return nil
			}
			m.tearDownStray(ctx, r)
			return nil
		}))
	}
	_ = group.Wait() // only a panic, which is logged
}

// Strays returns the pods that may have files or a network but should have none: those whose Run
// was interrupted by a crash, those that are stopped, and those without a record. It must be called
// after [Manager.Recover] and before pods are created or removed.
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
		if ns := m.netnsOf(id); ns.Net == netns && !m.Namespaces.Pinned(ns) {
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
			strays = append(strays, &Record{ID: id, Namespaces: m.netnsOf(id)})
		}
	}
	return strays, nil
}

// netnsOf returns the path at which the network namespace of a pod is pinned, if it has one. Other
// runtimes pin theirs elsewhere.
func (m *Manager) netnsOf(id string) network.Namespaces {
	return m.Namespaces.Plan(network.PinOptions{ID: id, Net: true})
}

func (m *Manager) tearDownStray(ctx context.Context, r *Record) {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	logger := log.G(ctx).WithField("pod", r.ID)
	if _, err := m.releaser.tearDown(ctx, r, nil, func() {}); err != nil {
		logger.WithError(err).Error("leftover network or files of a stopped or removed pod not cleaned up; will retry at next start")
		return
	}
	logger.Warn("cleaned up leftover network or files of a stopped or removed pod; a power failure may have restored them")
}

// rollbacks are the names of pods whose Run was interrupted by a crash and that are not torn down
// yet. A Run with the same name waits for the teardown.
type rollbacks struct {
	mu     sync.Mutex
	byName map[string]chan struct{} // closed when the pod is torn down
}

func (rs *rollbacks) add(name string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.byName == nil {
		rs.byName = make(map[string]chan struct{})
	}
	rs.byName[name] = make(chan struct{})
}

func (rs *rollbacks) done(name string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if over, found := rs.byName[name]; found {
		close(over)
		delete(rs.byName, name)
	}
}

func (rs *rollbacks) wait(ctx context.Context, name string) error {
	rs.mu.Lock()
	over, found := rs.byName[name]
	rs.mu.Unlock()
	if !found {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the rollback of a RunPodSandbox that a crash interrupted: %w", ctx.Err())
	}
}
