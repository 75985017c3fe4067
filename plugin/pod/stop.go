// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Stop stops a pod: no more containers can be created in it, its containers are stopped, and its
// network, namespaces and files are released (see teardown). A stopped or unknown pod is no error.
//
// A call joins an equal call in progress. The work continues when ctx ends.
func (m *Manager) Stop(ctx context.Context, id string, members Members) error {
	return m.terminate(ctx, id, members, m.stop)
}

// Remove stops a pod and removes its containers and its record. An unknown pod is no error.
func (m *Manager) Remove(ctx context.Context, id string, members Members) error {
	return m.terminate(ctx, id, members, m.remove)
}

// termination is stop or remove.
type termination func(ctx context.Context, id string, members Members) error

// terminate calls how for a pod, unless the pod is unknown.
func (m *Manager) terminate(ctx context.Context, id string, members Members, how termination) error {
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

// stop is also called by remove, so that a removal joins a stop in progress: of two teardowns of
// one pod at the same time, one would remove the network namespace that a CNI plugin of the other
// uses.
func (m *Manager) stop(ctx context.Context, id string, members Members) error {
	_, err := m.stops.Do(ctx, id, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.stopSteps(ctx, id, members)
	})
	return err
}

func (m *Manager) remove(ctx context.Context, id string, members Members) error {
	_, err := m.removes.Do(ctx, id, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.removeSteps(ctx, id, members)
	})
	return err
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
	if _, err := m.releaser.tearDown(ctx, r, membersStopped, func() { m.notifyStop(ctx, r) }); err != nil {
		return err
	}
	_, _, err = m.pods.Settle(ctx, id, func(r *Record) *Record {
		return r.with(func(r *Record) { r.State, r.PID = Stopped, 0 })
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func (m *Manager) removeSteps(ctx context.Context, id string, members Members) error {
	r, err := m.pods.Get(id)
	if errdefs.IsNotFound(err) {
		return nil // removed by another call
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
	if stopped, err := m.pods.Get(id); err == nil {
		r = stopped
	}
	// After the other steps, so that the name is reserved as long as the pod has resources, and
	// before plugins get the removal: Synchronize must not have the pod afterwards.
	if err := m.deleteRecord(ctx, r); err != nil {
		return err
	}
	m.runs.Forget(id)
	m.notifyRemove(ctx, r)
	return nil
}
