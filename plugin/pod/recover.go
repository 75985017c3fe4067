// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// recoverParallel is how many pods are recovered at a time: a CNI plugin that undoes one
// may have to wait for what does not run yet.
const recoverParallel = 16

// Recover loads the pods that containerd knows and compares each with the
// machine:
//
//	record    namespaces  task         → pod
//	creating  any         any          → undone: its caller never got an id
//	ready     there       alive        → goes on
//	ready     gone        any          → stopping: the machine was rebooted, as
//	                                     the boot id says of a pod that has none
//	ready     there       init gone    → stopping
//	ready     there       holder gone  → goes on, with another holder
//	stopping  any         any          → stopping, the next Stop resumes
//	stopped                            → stopped
//
// One pod that cannot be recovered never keeps another from it, nor do the CNI plugins
// that undo one.
func (m *Manager) Recover(ctx context.Context) error {
	records, err := m.Records.Sandboxes(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, saved := range records {
		group.Go(func() error {
			if err := m.recover(ctx, saved); err != nil {
				log.G(ctx).WithError(err).WithField("pod", saved.ID).Error("pod is not recovered")
			}
			return nil
		})
	}
	return group.Wait()
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	if r.ID != saved.ID { // its folders would be another's
		return fmt.Errorf("the record is that of pod sandbox %q: %w", r.ID, errdefs.ErrDataLoss)
	}
	if err := m.pods.Put(r); err != nil {
		return err
	}
	m.Labels.Reserve(r.SELinux.Process)
	switch r.State {
	case Creating:
		m.undoRun(ctx, r)
		return nil
	case Ready:
		return m.readopt(ctx, r)
	}
	return nil
}

// undoRun takes back a Run that a crash of the daemon ended.
func (m *Manager) undoRun(ctx context.Context, r *Record) {
	var u undo.Stack
	u.Push("files", func(context.Context) error { return m.Files.Remove(r.ID) })
	u.Push("network", func(ctx context.Context) error { return m.disconnect(ctx, r) })
	u.Push("task", func(ctx context.Context) error { return m.Tasks.Stop(ctx, r.ID) })
	m.abandon(ctx, r, &u)
}

// readopt goes on with a pod that was ready, if it still is.
func (m *Manager) readopt(ctx context.Context, r *Record) error {
	rebooted := r.BootID != "" && r.BootID != m.BootID // older records have none
	if rebooted || !m.Namespaces.Pinned(r.Namespaces) {
		return m.markStopping(ctx, r.ID)
	}
	m.watch(r)
	return nil
}

func (m *Manager) markStopping(ctx context.Context, id string) error {
	_, err := m.pods.Update(ctx, id, func(r *Record) (*Record, error) {
		if r.State != Ready {
			return r, nil
		}
		return r.with(func(r *Record) { r.State = Stopping }), nil
	})
	return err
}
