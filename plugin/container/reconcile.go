// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// recoverTask looks up the task of a container and updates the container to match it.
func (w *watcher) recoverTask(ctx context.Context, r *Record) error {
	return guard.Call(ctx, "find task", func() error {
		task, status, err := findTask(ctx, w.containerd, r.ID)
		if err != nil {
			return err
		}
		return w.reconcile(ctx, r, task, status)
	})
}

// recoverTaskLater looks up the task of a running container until its shim answers. Otherwise the
// exit would go unnoticed.
func (w *watcher) recoverTaskLater(r *Record) {
	w.background.run("recover task of "+r.String(), func(ctx context.Context) {
		retry := time.NewTicker(max(w.exitEventTimeout, time.Millisecond))
		defer retry.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-retry.C:
			}
			if err := w.retryRecoverTask(ctx, r); err == nil {
				return
			}
		}
	})
}

func (w *watcher) retryRecoverTask(ctx context.Context, r *Record) error {
	if _, err := w.containers.Get(r.ID); err != nil {
		return nil // it was removed
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	return w.recoverTask(ctx, r)
}

// findTask returns a container's task and its state. The task is nil if there is none.
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

// reconcile updates the record and the life of a container to match its task.
func (w *watcher) reconcile(ctx context.Context, r *Record, task runtime.Task, status runtime.Status) error {
	ended := taskExit{code: status.ExitStatus, at: status.ExitTime}
	if r.State() == runtimeapi.ContainerState_CONTAINER_CREATED {
		if task == nil {
			return nil
		}
		if status.Status == runtime.Created {
			return w.containerd.DeleteTask(ctx, r.ID)
		}
		started := latestStart(w.now(), status)
		w.containers.settle(ctx, r.ID, func(r *Record) {
			r.PID, r.Times.Started = task.Pid(), started.UnixNano()
		})
		r.life.streams.Connect()
	}
	if task == nil {
		w.handleExit(w.background.ctx, r.ID, nil, r.life.receivedExit())
		return nil
	}
	r.life.setTask(task)
	if status.Status == runtime.Stopped {
		w.handleExit(w.background.ctx, r.ID, task, ended)
		return nil
	}
	exited, err := task.Wait(w.background.ctx)
	if err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	w.watch(r, task, exited)
	return nil
}

// latestStart returns the latest possible start time of a process whose start was not recorded.
func latestStart(now time.Time, status runtime.Status) time.Time {
	if status.Status == runtime.Stopped && status.ExitTime.Before(now) {
		return status.ExitTime
	}
	return now
}
