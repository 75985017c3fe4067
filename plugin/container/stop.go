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

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Stop ends a running container: its stop signal, then, after grace, SIGKILL.
// It returns when the exit is in the record or when ctx ends; the kill comes
// all the same. Of several calls the one with the shortest grace wins. A
// container that does not run, or that nobody knows, is fine.
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
		return m.mustNotRun(r.ID)
	}
	m.killAfter(r, task, grace) // before the signal, whose delivery a stuck shim may hold up
	if grace > 0 {
		sendStopSignal(ctx, r, task)
	}
	select {
	case <-r.life.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for its end: %w", r, ctx.Err())
	}
}

// mustNotRun is nil for a container without a task, which is what a caller of Stop
// wants. But the task may only be unknown; see findLater.
func (m *Manager) mustNotRun(id string) error {
	r, err := m.containers.Get(id)
	if err == nil && r.running() && r.task() == nil {
		return fmt.Errorf("%s: its shim has not answered since the daemon started (if it never does, kill it): %w", r, errdefs.ErrUnavailable)
	}
	return nil
}

// killAfter kills the container when it has not ended after grace.
func (m *Manager) killAfter(r *Record, task runtime.Task, grace time.Duration) {
	guard.Go(m.life, &m.wait, "kill "+r.String(), func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-m.life.Done():
			return
		case <-r.life.ended:
			return
		case <-timer.C:
		}
		_ = sendSignal(m.life, r, task, "SIGKILL")
	})
}

// sendStopSignal sends the container's stop signal, if no earlier call has.
func sendStopSignal(ctx context.Context, r *Record, task runtime.Task) {
	claimed, unclaim := r.life.claimSignal(r.StopSignal)
	if claimed && sendSignal(ctx, r, task, r.StopSignal) != nil {
		unclaim()
	}
}

// sendSignal sends a signal to a container. An error is logged, and is for callers that try again;
// a container that has ended needs no signal.
func sendSignal(ctx context.Context, r *Record, task runtime.Task, name string) error {
	sig, err := signal.ParseSignal(name)
	if err != nil {
		sig = syscall.SIGTERM // an image may ask for a signal that does not exist
	}
	// A signal that ends in a panic is not delivered, and can be sent again.
	err = guard.Call(ctx, "kill", func() error { return runtime.Kill(ctx, task, sig) })
	if err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", r.ID).WithField("signal", name).Warn("signal is not delivered")
		return err
	}
	return nil
}

// StopAll kills the containers of a pod, all at once, and waits for the last.
func (m *Manager) StopAll(ctx context.Context, podID string) error {
	return each(ctx, m.OfPod(podID), func(r *Record) error { return m.Stop(ctx, r.ID, 0) })
}

// RemoveAll removes the containers of a pod.
func (m *Manager) RemoveAll(ctx context.Context, podID string) error {
	return each(ctx, m.OfPod(podID), func(r *Record) error { return m.Remove(ctx, r.ID) })
}

// each calls do for each container, side by side, and joins the errors: one that
// fails does not keep the others.
func each(ctx context.Context, members []*Record, do func(*Record) error) error {
	errs := make([]error, len(members))
	var group errgroup.Group
	for i, r := range members {
		group.Go(guard.Func(ctx, r.String(), func() error { errs[i] = do(r); return nil }))
	}
	panicked := group.Wait()
	return errors.Join(append(errs, panicked)...)
}
