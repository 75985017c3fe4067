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

// recoverParallel is how many pods are recovered, or strays are released, at a time: a CNI plugin
// may take long.
const recoverParallel = 16

// Recover loads the pods that containerd knows and compares each with the
// machine:
//
//	record    namespaces  task         → pod
//	creating  any         any          → a stray: its caller never got an id
//	ready     there       alive        → goes on
//	ready     gone        any          → stopping: the machine was rebooted, as
//	                                     the boot id says of a pod that has none
//	ready     there       init gone    → stopping
//	ready     there       holder gone  → goes on, with another holder
//	stopping  any         any          → stopping, the next Stop resumes
//	stopped                            → stopped
//
// One pod that cannot be recovered never keeps another from it. No CNI plugin is called: one may
// need the CRI (see [Manager.ReleaseStrays]).
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
				log.G(ctx).WithError(err).WithField("pod", saved.ID).Error("pod is not recovered")
			}
			return nil
		}))
	}
	_ = group.Wait() // a panic, which is logged
	return nil
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	if r.ID != saved.ID { // its folders would be another's
		return fmt.Errorf("the record is that of pod sandbox %q: %w", r.ID, errdefs.ErrDataLoss)
	}
	if r.Hostname == "" { // the record is of an older release
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
		m.undoing.add(r.Name)
	case Ready:
		m.readopt(ctx, r)
	}
	return nil
}

// readopt goes on with a pod that was ready, if it still is.
func (m *Manager) readopt(ctx context.Context, r *Record) {
	rebooted := r.BootID != "" && r.BootID != m.BootID // older records have none
	if rebooted || !m.Namespaces.Pinned(r.Namespaces) {
		m.markStopping(ctx, r.ID)
		return
	}
	close(m.watch(r).shown)
}

// markStopping shows that a pod is not ready any more, unless it is further on its way, or gone.
func (m *Manager) markStopping(ctx context.Context, id string) {
	_, _, _ = m.pods.Settle(ctx, id, func(r *Record) *Record { // a pod that is gone needs no mark
		if r.State != Ready {
			return r
		}
		return r.with(func(r *Record) { r.State = Stopping })
	})
}
