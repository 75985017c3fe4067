// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Recover loads the pods that containerd knows and compares each with the
// machine:
//
//	record    namespaces  init     → pod
//	creating  any         any      → undone: its caller never got an id
//	ready     there       alive    → goes on
//	ready     gone        any      → stopping: the machine was rebooted
//	ready     there       gone     → stopping
//	stopping  any         any      → stopping, the next Stop resumes
//	stopped                        → stopped
//
// One pod that cannot be recovered never keeps another from it.
func (m *Manager) Recover(ctx context.Context) error {
	records, err := m.Records.Sandboxes(ctx)
	if err != nil {
		return err
	}
	for _, saved := range records {
		if err := m.recover(ctx, saved); err != nil {
			log.G(ctx).WithError(err).WithField("pod", saved.ID).Error("pod is not recovered")
		}
	}
	return nil
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
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
	if r.HasInit {
		u.Push("init", func(ctx context.Context) error { return m.Inits.Stop(ctx, r.ID) })
	}
	m.abandon(ctx, r, &u)
}

// readopt goes on with a pod that was ready, if it still is.
func (m *Manager) readopt(ctx context.Context, r *Record) error {
	if !m.Namespaces.Pinned(r.Namespaces) {
		return m.markStopping(ctx, r.ID)
	}
	if r.HasInit {
		m.watchInit(r.ID)
	}
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

// watchInit makes a pod not ready when its init ends: its PID namespace is
// gone, and every process in it.
func (m *Manager) watchInit(id string) {
	m.wait.Go(func() {
		exited, err := m.Inits.Wait(m.life, id)
		if err == nil {
			<-exited
		} else if !errdefs.IsNotFound(err) {
			log.G(m.life).WithError(err).WithField("pod", id).Error("the pod's init is not watched")
			return
		}
		if m.life.Err() != nil {
			return
		}
		if err := m.markStopping(m.life, id); err != nil && !errdefs.IsNotFound(err) {
			log.G(m.life).WithError(err).WithField("pod", id).Error("the pod's init has ended, which is not saved")
		}
	})
}
