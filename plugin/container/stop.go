// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/sys/signal"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Stop ends a running container: it sends the stop signal and, after grace, SIGKILL. It returns
// when the exit is recorded or when ctx ends; the SIGKILL is sent in any case. Of several calls,
// the one with the shortest grace wins. A container that is not running, or not known, is no error.
func (m *Manager) Stop(ctx context.Context, id string, grace time.Duration) error {
	r, err := m.containers.Get(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.life.waitStarted(ctx); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	if r, err = m.containers.Get(r.ID); errdefs.IsNotFound(err) {
		return nil
	}
	task := r.task()
	if task == nil {
		return m.awaitEnded(ctx, r.ID)
	}
	killAfter(ctx, m.background, r, task, grace) // first: a stuck shim may block the signal
	if grace > 0 {
		sendStopSignal(ctx, r, task)
	}
	select {
	case <-r.life.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for its exit: %w", r, ctx.Err())
	}
}

// awaitEnded returns nil for a container that is not running, and for one that has exited when its
// exit is handled. If the container is running but its task is not known (see recoverTaskLater), it
// returns Unavailable.
func (m *Manager) awaitEnded(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case r.Times.Finished == 0 && r.task() != nil, r.State() == runtimeapi.ContainerState_CONTAINER_CREATED:
		return nil // not started, or started since
	case r.running():
		return fmt.Errorf("%s: its shim has not answered since the daemon started (kill the shim if it stays stuck): %w", r, errdefs.ErrUnavailable)
	}
	select {
	case <-r.life.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for its exit: %w", r, ctx.Err())
	}
}

// killAfter sends SIGKILL if the container has not exited after grace, also if the call, to which
// caller belongs, has ended by then.
func killAfter(caller context.Context, b *background, r *Record, task runtime.Task, grace time.Duration) {
	b.run("kill "+r.String(), func(ctx context.Context) {
		ctx = activity.Within(ctx, caller)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-r.life.ended:
			return
		case <-timer.C:
		}
		_ = sendSignal(ctx, r, task, "SIGKILL")
	})
}

// sendStopSignal sends the container's stop signal, unless an earlier call has sent it.
func sendStopSignal(ctx context.Context, r *Record, task runtime.Task) {
	claimed, unclaim := r.life.claimSignal(r.StopSignal)
	if claimed && sendSignal(ctx, r, task, r.StopSignal) != nil {
		unclaim()
	}
}

// sendSignal sends a signal to a container. It logs an error and returns it, so that the caller can
// send the signal again. It returns nil if the container has exited.
func sendSignal(ctx context.Context, r *Record, task runtime.Task, name string) error {
	sig, err := signal.ParseSignal(name)
	if err != nil {
		sig = syscall.SIGTERM // the record of another release may name an unknown signal
	}
	// A signal whose delivery panics counts as not delivered and can be sent again.
	err = guard.Call(ctx, "kill", func() error { return runtime.Kill(ctx, task, sig) })
	if err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", r.ID).WithField("signal", name).Warn("signal not delivered")
		return err
	}
	return nil
}

// StopAll kills all containers of a pod, which is no longer ready, at the same time and waits until
// the last has exited.
func (m *Manager) StopAll(ctx context.Context, podID string) error {
	return each(ctx, m.OfPod(podID), func(r *Record) error {
		err := m.Stop(ctx, r.ID, 0)
		if r, gone := m.containers.Get(r.ID); err == nil && gone == nil {
			m.plugins.stop(ctx, r) // a container that was never started: it cannot start any more
		}
		return err
	})
}

// RemoveAll removes all containers of a pod.
func (m *Manager) RemoveAll(ctx context.Context, podID string) error {
	return each(ctx, m.OfPod(podID), func(r *Record) error { return m.Remove(ctx, r.ID) })
}

// each calls do for all containers at the same time and joins the errors. A failed call does not
// affect the others.
func each(ctx context.Context, members []*Record, do func(*Record) error) error {
	errs := make([]error, len(members))
	var group errgroup.Group
	for i, r := range members {
		group.Go(guard.Func(ctx, r.String(), func() error { errs[i] = do(r); return nil }))
	}
	panicked := group.Wait()
	return errors.Join(append(errs, panicked)...)
}
