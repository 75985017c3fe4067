// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Stop ends a pod: it takes no more containers, those it has are stopped, and its network,
// namespaces and files are given back (see teardown). A pod that is stopped, or unknown, is fine.
//
// An equal call in progress is joined. The work goes on when ctx ends.
func (m *Manager) Stop(ctx context.Context, id string, members Members) error {
	return m.end(ctx, id, members, m.stop)
}

// Remove stops a pod and removes its containers and its record. An unknown pod is fine.
func (m *Manager) Remove(ctx context.Context, id string, members Members) error {
	return m.end(ctx, id, members, m.remove)
}

// ending is stop or remove.
type ending func(ctx context.Context, id string, members Members) error

// end ends a pod, if there is one.
func (m *Manager) end(ctx context.Context, id string, members Members, how ending) error {
	r, err := m.pods.Get(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := how(ctx, r.ID, members); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	return nil
}

// stop is joined by a removal, too: a CNI plugin that meets a namespace on its way out fails.
func (m *Manager) stop(ctx context.Context, id string, members Members) error {
	return m.join(ctx, "stop", id, func(ctx context.Context) error { return m.stopSteps(ctx, id, members) })
}

func (m *Manager) remove(ctx context.Context, id string, members Members) error {
	return m.join(ctx, "remove", id, func(ctx context.Context) error { return m.removeSteps(ctx, id, members) })
}

// join does work on a pod, or joins the same work in progress, until ctx ends.
func (m *Manager) join(ctx context.Context, verb, id string, work func(context.Context) error) error {
	result := m.ends.DoChan(verb+id, func() (any, error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, guard.Call(detached, verb, func() error { return work(detached) })
	})
	select {
	case done := <-result:
		return done.Err
	case <-ctx.Done():
		return fmt.Errorf("%s goes on: %w", verb, ctx.Err())
	}
}

func (m *Manager) stopSteps(ctx context.Context, id string, members Members) error {
	r, _, err := m.pods.Settle(ctx, id, func(r *Record) *Record {
		if r.State == Stopped || r.State == Stopping {
			return r
		}
		return r.with(func(r *Record) { r.State = Stopping })
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.State == Stopped {
		return nil
	}
	membersStopped := guard.Start(ctx, "stop containers", func() error { return members.StopAll(ctx, id) })
	if _, err := m.tearDown(ctx, r, membersStopped); err != nil {
		return err
	}
	_, _, err = m.pods.Settle(ctx, id, func(r *Record) *Record {
		return r.with(func(r *Record) { r.State, r.PID, r.Unfinished = Stopped, 0, nil })
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func (m *Manager) removeSteps(ctx context.Context, id string, members Members) error {
	r, err := m.pods.Get(id)
	if errdefs.IsNotFound(err) {
		return nil // another call has removed it
	}
	if err != nil {
		return err
	}
	if err := m.stop(ctx, id, members); err != nil {
		return err
	}
	if err := members.RemoveAll(ctx, id); err != nil {
		return fmt.Errorf("remove containers: %w", err)
	}
	if err := m.Records.DeleteSandbox(ctx, id); err != nil {
		return fmt.Errorf("delete record: %w", err)
	}
	// Last, so that the name is taken as long as something is left.
	m.forget(r)
	m.runs.Forget(id)
	return nil
}
