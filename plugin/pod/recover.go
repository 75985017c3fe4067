// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// recoverParallel is how many pods are recovered, or strays torn down, at a time: a CNI plugin may
// be slow.
const recoverParallel = 16

// Recover loads the pod records from containerd and compares each with the state of the host:
//
//	record    namespaces  task         → pod
//	creating  any         any          → a stray: its caller never got an ID
//	ready     pinned      running      → stays ready
//	ready     gone        any          → stopping: the host was rebooted (the boot
//	                                     ID shows it for pods without namespaces)
//	ready     pinned      init gone    → stopping
//	ready     pinned      holder gone  → stays ready, gets another holder
//	stopping  any         any          → stopping; the next Stop resumes
//	stopped   any         any          → stopped
//
// A pod that cannot be recovered does not prevent the recovery of others. No CNI plugin is called
// here, because a plugin may need the CRI (see [Manager.TearDownStrays]).
func (m *Manager) Recover(ctx context.Context) error {
	records, err := m.Records.Sandboxes(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, saved := range records {
		group.Go(guard.Func(ctx, "recover pod "+saved.ID, func() error {
			if err := m.recover(ctx, saved); err != nil {
				log.G(ctx).WithError(err).WithField("pod", saved.ID).Error("pod not recovered and not listed; will retry at next start")
			}
			return nil
		}))
	}
	_ = group.Wait() // only a panic, which is logged
	return nil
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	if r.ID != saved.ID { // its ID would name the directories of another pod
		return fmt.Errorf("record belongs to pod %q: %w", r.ID, errdefs.ErrDataLoss)
	}
	if r.Hostname == "" { // records of older releases have none
		hostname, err := m.hostname(r.Config)
		if err != nil {
			return err
		}
		r.Hostname = hostname
	}
	if err := m.pods.Put(r); err != nil {
		return err
	}
	m.Labels.Reserve(r.SELinux.Process)
	switch r.State {
	case Creating:
		m.rollbacks.add(r.Name)
	case Ready:
		m.resume(ctx, r)
	}
	return nil
}

// resume continues to watch a pod that was ready. If the host was rebooted or a namespace is gone,
// it marks the pod as stopping.
func (m *Manager) resume(ctx context.Context, r *Record) {
	rebooted := r.BootID != "" && r.BootID != m.BootID // records of older releases have none
	if rebooted || !m.Namespaces.Pinned(r.Namespaces) {
		m.pods.markStopping(ctx, r.ID)
		return
	}
	close(m.watches.start(r).visible)
}
