// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stdio"
)

const (
	// recoverLimit bounds what one container may take: its shim may be stuck.
	recoverLimit = 10 * time.Second
	// recoverParallel is how many shims are asked at a time.
	recoverParallel = 16
)

// Recover loads the containers that containerd knows and compares each with
// its task:
//
//	record   task      → container
//	created  none      → created
//	created  created   → created, the task of the start that was cut short goes
//	created  running   → running: the start was done but not saved
//	running  running   → running, its log goes on
//	running  stopped   → exited, with the code that the shim has kept
//	running  none      → exited, code unknown
//	running  unknown   → running; its shim is asked until it answers
//	exited   any       → exited, the task goes
//
// One container that cannot be recovered never keeps another from it.
func (m *Manager) Recover(ctx context.Context) error {
	records, err := m.Containerd.Containers(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(records))
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, saved := range records {
		known[saved.ID] = true
		group.Go(guard.Func(ctx, "recover container "+saved.ID, func() error {
			ctx, cancel := context.WithTimeout(ctx, recoverLimit)
			defer cancel()
			if err := m.recover(ctx, saved); err != nil {
				log.G(ctx).WithError(err).WithField("container", saved.ID).Error("container is not recovered")
			}
			return nil
		}))
	}
	_ = group.Wait() // a panic, which is logged
	// What is mounted goes before the snapshots under it do.
	if err := errors.Join(m.removeStray(ctx, known), m.Containerd.RenewLease(ctx)); err != nil {
		log.G(ctx).WithError(err).Error("what a crash left of containers stays until the next start")
	}
	return nil
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record (ctr -n k8s.io containers rm removes it): %w", err)
	}
	if r.ID != saved.ID { // its folders would be another's
		return fmt.Errorf("the record is that of container %q (ctr -n k8s.io containers rm removes it): %w", r.ID, errdefs.ErrDataLoss)
	}
	r.life = newLife(m.openStreams(ctx, r))
	if err := m.containers.Put(r); err != nil {
		return err
	}
	m.Labels.Reserve(r.SELinux.Process)
	if r.State() == runtimeapi.ContainerState_CONTAINER_EXITED {
		r.life.claimExit()
		r.life.end()
		r.life.reap()
		return m.Containerd.DeleteTask(ctx, r.ID)
	}
	err := m.find(ctx, r)
	if now, gone := m.containers.Get(r.ID); err != nil && gone == nil && now.running() {
		m.findLater(now)
	}
	return err
}

// find looks for the task of a container and brings the container in line with it.
func (m *Manager) find(ctx context.Context, r *Record) error {
	return guard.Call(ctx, "find task", func() error {
		task, status, err := findTask(ctx, m.Containerd, r.ID)
		if err != nil {
			return err
		}
		return m.reconcile(ctx, r, task, status)
	})
}

// findLater asks the shim of a container that should run until it answers: nobody
// would see the exit otherwise.
func (m *Manager) findLater(r *Record) {
	guard.Go(m.life, &m.wait, "look for the task of "+r.String(), func() {
		retry := time.NewTicker(max(m.patience, time.Millisecond))
		defer retry.Stop()
		for {
			select {
			case <-m.life.Done():
				return
			case <-retry.C:
			}
			if err := m.findAgain(r); err == nil {
				return
			}
		}
	})
}

func (m *Manager) findAgain(r *Record) error {
	if _, err := m.containers.Get(r.ID); err != nil {
		return nil // it was removed
	}
	ctx, cancel := context.WithTimeout(m.life, recoverLimit)
	defer cancel()
	return m.find(ctx, r)
}

// openStreams opens the streams of a recovered container: those of one that was
// started go on, those of one that was not are as new, and one that has exited
// has none. Nor has one whose streams cannot be opened: after a reboot the pipes are
// gone, and the container has to be known to be removed.
func (m *Manager) openStreams(ctx context.Context, r *Record) stdio.Streams {
	var streams stdio.Streams
	var err error
	switch r.State() {
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		streams, err = stdio.Load(m.streamOptions(r))
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		streams, err = stdio.Open(m.streamOptions(r))
	default:
		return stdio.Closed()
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Warn("streams are not opened; after a reboot there are none")
		return stdio.Closed()
	}
	return streams
}

// removeStray removes the directories of which containerd has no container: a crash
// left them in the middle of a create or a remove. The built-in CRI has its own in the
// same place: those of its containers, which are not among the known, stay.
func (m *Manager) removeStray(ctx context.Context, known map[string]bool) error {
	ids, err := m.Dirs.ids()
	errs := []error{err}
	for _, id := range ids {
		if known[id] {
			continue
		}
		others, err := m.Containerd.Knows(ctx, id)
		if err == nil && !others {
			err = m.Dirs.remove(id)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// findTask returns a container's task and its state; a nil task is none.
func findTask(ctx context.Context, c Containerd, id string) (runtime.Task, runtime.Status, error) {
	task, err := c.LoadTask(ctx, id, nil)
	if errdefs.IsNotFound(err) {
		return nil, runtime.Status{}, nil
	}
	if err != nil {
		return nil, runtime.Status{}, fmt.Errorf("load task: %w", err)
	}
	status, err := task.Status(ctx)
	if errdefs.IsNotFound(err) {
		return nil, runtime.Status{}, nil
	}
	if err != nil {
		return nil, runtime.Status{}, fmt.Errorf("state of task: %w", err)
	}
	return task, status, nil
}

// reconcile brings the record and the life of a container in line with its task.
func (m *Manager) reconcile(ctx context.Context, r *Record, task runtime.Task, status runtime.Status) error {
	ended := exit{code: status.ExitStatus, at: status.ExitTime}
	if r.State() == runtimeapi.ContainerState_CONTAINER_CREATED {
		if task == nil {
			return nil
		}
		if status.Status == runtime.Created {
			return m.Containerd.DeleteTask(ctx, r.ID)
		}
		started := startedBefore(m.Now(), status)
		m.settle(ctx, r.ID, func(r *Record) {
			r.PID, r.Times.Started = task.Pid(), started.UnixNano()
		})
		r.life.streams.Connect()
	}
	if task == nil {
		m.exited(m.life, r.ID, nil, r.life.heard())
		return nil
	}
	r.life.setTask(task)
	if status.Status == runtime.Stopped {
		m.exited(m.life, r.ID, task, ended)
		return nil
	}
	exited, err := task.Wait(m.life)
	if err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	m.watch(r, task, exited)
	return nil
}

// startedBefore is the start of a process that nobody took down: the latest time
// at which it can have been.
func startedBefore(now time.Time, status runtime.Status) time.Time {
	if status.Status == runtime.Stopped && status.ExitTime.Before(now) {
		return status.ExitTime
	}
	return now
}
