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

// startErrorCode is the exit code of a container that did not start, as in Docker and containerd.
const startErrorCode = 128

// Start starts a created container. If that fails, the container becomes exited, with reason
// StartError and the cause as message, so that the kubelet can show it.
func (m *Manager) Start(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	err = m.startClaimed(ctx, r)
	if ended, gone := m.containers.Get(r.ID); err != nil && gone == nil && ended.Times.Finished != 0 {
		// After the claim is released: a plugin may update this container in its answer.
		m.plugins.stop(context.WithoutCancel(ctx), ended)
	}
	return err
}

// startClaimed claims a container and starts it.
func (m *Manager) startClaimed(ctx context.Context, r *Record) error {
	done, err := r.life.begin(verbStart)
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	defer done()
	if r, err = m.containers.Get(r.ID); err != nil {
		return err
	}
	if err := m.checkStartable(r); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	// The start continues after its caller gave up: a retry finds the container started, not half
	// started.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if err := guard.Call(ctx, "start", func() error { return m.start(ctx, r) }); err != nil {
		m.startFailed(ctx, r, err)
		return fmt.Errorf("%s: %w", r, err)
	}
	return nil
}

// checkStartable returns an error if a container cannot be started.
func (m *Manager) checkStartable(r *Record) error {
	if r.Times.Started != 0 || r.Times.Finished != 0 {
		return fmt.Errorf("state is %s, only a created container can be started: %w", stateName(r), errdefs.ErrFailedPrecondition)
	}
	p, err := m.Pods.Get(r.PodID)
	if err != nil {
		return err
	}
	if err := checkReady(p); err != nil {
		return err
	}
	// The spec contains the target's PID, which another process may get when the target has exited.
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
	r.life.streams.Connect() // the shim has opened its ends of the pipes
	// The wait begins before the start, as the process may exit before Start returns.
	exited, err := task.Wait(m.background.ctx)
	if err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	if err := m.plugins.start(ctx, r, task.Pid()); err != nil {
		return err
	}
	started := m.Now().UnixNano() // before the start, so that it is not after the exit
	if err := task.Start(ctx); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	r.life.setTask(task)
	// If the daemon crashes before this is saved, Recover finds the task and records the start.
	m.containers.settle(ctx, r.ID, func(r *Record) { r.PID, r.Times.Started = task.Pid(), started })
	m.plugins.postStart(ctx, r.with(func(r *Record) { r.PID, r.Times.Started = task.Pid(), started }))
	m.watcher.watch(r, task, exited)
	return nil
}

// startFailed deletes the task and records the cause. It has a timeout of its own, because that of
// the start may have expired.
func (m *Manager) startFailed(ctx context.Context, r *Record, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if err := m.Containerd.DeleteTask(ctx, r.ID); err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("task not deleted after a failed start; removing the container deletes it")
	}
	if !r.life.claimExit() {
		return
	}
	now := m.Now().UnixNano()
	m.containers.settle(ctx, r.ID, func(r *Record) {
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
