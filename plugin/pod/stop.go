// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

// Stop ends a pod: it takes no more containers, those it has are stopped, and
// its network, namespaces and files are given back. A pod that is stopped, or that
// nobody knows, is fine. A container that cannot die is reported, but the
// network does not wait for it.
//
// An equal call under way is joined. The work goes on when ctx ends.
func (m *Manager) Stop(ctx context.Context, id string, members Members) error {
	return m.end(ctx, id, members, m.stop)
}

// Remove stops a pod and removes its containers and its record. A
// pod that nobody knows is fine.
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

// join does work on a pod, or joins the same work under way, until ctx ends.
func (m *Manager) join(ctx context.Context, verb, id string, work func(context.Context) error) error {
	result := m.ends.DoChan(verb+id, func() (any, error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		return nil, work(detached)
	})
	select {
	case done := <-result:
		return done.Err
	case <-ctx.Done():
		return fmt.Errorf("%s goes on: %w", verb, ctx.Err())
	}
}

func (m *Manager) stopSteps(ctx context.Context, id string, members Members) error {
	r, err := m.pods.Update(ctx, id, func(r *Record) (*Record, error) {
		if r.State == Stopped {
			return r, nil
		}
		return r.with(func(r *Record) { r.State = Stopping }), nil
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
	// The containers and the network end side by side: what hangs in one must
	// not keep the other.
	membersStopped := make(chan error, 1)
	go func() { membersStopped <- members.StopAll(ctx, id) }()
	released := m.release(ctx, r, membersStopped)
	if released != nil {
		return released
	}
	_, err = m.pods.Update(ctx, id, func(r *Record) (*Record, error) {
		return r.with(func(r *Record) { r.State, r.PID, r.Unfinished = Stopped, 0, nil }), nil
	})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// release waits a moment for the containers, so that they can say goodbye over
// the network, and gives back what the pod holds.
func (m *Manager) release(ctx context.Context, r *Record, membersStopped <-chan error) error {
	var errs []error
	step := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	grace, cancel := context.WithTimeout(ctx, membersGrace)
	defer cancel()
	waiting := true
	select {
	case err := <-membersStopped:
		step("stop containers", err)
		waiting = false
	case <-grace.Done():
	}
	networkDetached := make(chan error, 1)
	go func() { networkDetached <- m.detach(ctx, r) }()
	// The pin keeps the namespaces when the task leaves them. The task's shim is
	// that of a container that cannot die, which only the container may wait for.
	if !waiting {
		step("pod task", m.stopTask(ctx, r.ID))
	}
	detached := <-networkDetached
	step("network", detached)
	if detached == nil {
		step("namespaces", m.Namespaces.Unpin(ctx, r.ID, r.Namespaces))
	}
	if waiting {
		step("stop containers", <-membersStopped)
		step("pod task", m.stopTask(ctx, r.ID))
	}
	step("pod files", m.Files.Remove(r.ID))
	return errors.Join(errs...)
}

// disconnect gives back the network of a pod and then its namespaces. A CNI
// plugin needs the namespace to take back what it did: as long as it has not, the
// namespace stays.
func (m *Manager) disconnect(ctx context.Context, r *Record) error {
	if err := m.detach(ctx, r); err != nil {
		return err
	}
	if err := m.Namespaces.Unpin(ctx, r.ID, r.Namespaces); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	return nil
}

func (m *Manager) detach(ctx context.Context, r *Record) error {
	if r.HostNetwork() {
		return nil
	}
	// A failed ADD may have taken an address: it is undone, too.
	if err := m.Network.Detach(ctx, r.network()); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}

// stopTask ends the task of a pod, which its watch must not start anew.
func (m *Manager) stopTask(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, taskLimit)
	defer cancel()
	if err := m.unwatch(ctx, id); err != nil {
		return err
	}
	return m.Tasks.Stop(ctx, id)
}

func (m *Manager) removeSteps(ctx context.Context, id string, members Members) error {
	r, err := m.pods.Get(id)
	if errdefs.IsNotFound(err) {
		return nil // removed by somebody else since
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
	// Last, so that nobody can take the name while something is left.
	m.forget(r)
	m.runs.Forget(id)
	return nil
}
