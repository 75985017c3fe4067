// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// startErrorCode is the exit code of a container that did not start, as with
// docker and containerd.
const startErrorCode = 128

// Start starts a created container. One that does not start is exited with
// reason StartError and the cause as message, so that the kubelet can show it.
func (m *Manager) Start(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	done, err := r.life.begin(verbStart)
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	defer done()
	if r, err = m.containers.Get(r.ID); err != nil {
		return err
	}
	if err := m.startable(r); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	// The start goes on when the caller has gone: half a start is worse than
	// one that the caller finds done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
	defer cancel()
	if err := guard.Call(ctx, "start", func() error { return m.start(ctx, r) }); err != nil {
		m.startFailed(ctx, r, err)
		return fmt.Errorf("%s: %w", r, err)
	}
	return nil
}

// startable tells why a container cannot be started, if so.
func (m *Manager) startable(r *Record) error {
	if r.Times.Started != 0 || r.Times.Finished != 0 {
		return fmt.Errorf("it is %s, only a created container can be started: %w", stateName(r), errdefs.ErrFailedPrecondition)
	}
	p, err := m.Pods.Get(r.PodID)
	if err != nil {
		return err
	}
	if err := mustBeReady(p); err != nil {
		return err
	}
	// Its spec has the target's pid, which may be another's once the target has
	// ended.
	if ns := r.Config.GetLinux().GetSecurityContext().GetNamespaceOptions(); ns.GetPid() == runtimeapi.NamespaceMode_TARGET {
		_, err = m.pidInPod(r.PodID, ns.GetTargetId())
	}
	return err
}

func (m *Manager) start(ctx context.Context, r *Record) error {
	if err := m.Pods.AwaitTask(ctx, r.PodID); err != nil {
		return err
	}
	task, err := m.Containerd.NewTask(ctx, r.ID, r.life.streams.Creator(), runtime.TaskOptions{ShimPath: r.Runtime.ShimPath})
	if err != nil {
		return fmt.Errorf("create task: %w", err)
	}
	r.life.streams.Connect() // the shim has opened its ends
	// The wait is there before the start: a process may end before Start
	// returns.
	exited, err := task.Wait(m.life)
	if err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	started := m.Now().UnixNano() // and not after: it may have ended by then
	if err := task.Start(ctx); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	r.life.setTask(task)
	// If this is not saved before a crash, Recover finds the task and concludes the same.
	m.settle(ctx, r.ID, func(r *Record) { r.PID, r.Times.Started = task.Pid(), started })
	m.watch(r, task, exited)
	return nil
}

// startFailed deletes what was made of the task and records why, also where the time for the start
// has run out.
func (m *Manager) startFailed(ctx context.Context, r *Record, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	if err := m.Containerd.DeleteTask(ctx, r.ID); err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("task of a container that did not start is left; removing the container deletes it")
	}
	if !r.life.claimExit() {
		return
	}
	now := m.Now().UnixNano()
	m.settle(ctx, r.ID, func(r *Record) {
		r.PID, r.Times.Started, r.Times.Finished = 0, 0, now
		r.Exit = Exit{Code: startErrorCode, Reason: ReasonStartError, Message: cause.Error()}
	})
	r.life.setTask(nil)
	r.life.streams.Close()
	r.life.end()
	r.life.reap()
}

func stateName(r *Record) string {
	return strings.ToLower(strings.TrimPrefix(r.State().String(), "CONTAINER_"))
}
