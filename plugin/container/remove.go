// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// Remove removes a container with everything that it has, except its log. A running container is
// killed first. An unknown container is no error. Remove joins a removal in progress. The removal
// continues if ctx ends; if it fails, the next call resumes it.
func (m *Manager) Remove(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = m.removes.Do(ctx, r.ID, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.remove(ctx, r) })
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	return nil
}

func (m *Manager) remove(ctx context.Context, r *Record) error {
	r, done, err := m.claimStopped(ctx, r)
	if errdefs.IsNotFound(err) {
		return nil // removed by another call in the meantime
	}
	if err != nil {
		return err
	}
	defer done()
	if r.Times.Finished != 0 {
		if err := m.containers.Flush(ctx, r.ID); err != nil {
			return err
		}
		select {
		case <-r.life.reaped: // the exit path deletes the task
		case <-ctx.Done():
			return fmt.Errorf("wait for its task to be deleted: %w", ctx.Err())
		}
	}
	if err := m.Containerd.DeleteTask(ctx, r.ID); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	r.life.streams.Close()
	if err := m.volumes.remove(ctx, r); err != nil {
		return err
	}
	m.plugins.remove(ctx, r)
	// Last, so that the name stays reserved until everything is removed.
	if err := m.containers.Delete(r.ID, func() error { return m.deleteSaved(ctx, r) }); err != nil {
		return err
	}
	m.creates.Forget(r.ID)
	return nil
}

// deleteSaved deletes the record of a container and its directories, into both of which a save of
// the record writes, and releases its SELinux label.
func (m *Manager) deleteSaved(ctx context.Context, r *Record) error {
	if err := m.Containerd.DeleteContainer(ctx, r.ID); err != nil {
		return fmt.Errorf("delete container: %w", err)
	}
	if err := m.Dirs.remove(r.ID); err != nil {
		return err
	}
	m.Labels.Release(r.SELinux.Process)
	return nil
}

// claimStopped stops a container and claims it, so that it cannot be started. done releases the
// claim.
func (m *Manager) claimStopped(ctx context.Context, r *Record) (_ *Record, done func(), err error) {
	for {
		if err := m.Stop(ctx, r.ID, 0); err != nil {
			return nil, nil, err
		}
		// A start may have begun in the meantime. The next round waits for it and stops the
		// container. A container is started once, so the rounds end.
		done, err := r.life.begin(verbRemove)
		if err != nil {
			continue
		}
		if r, err = m.containers.Get(r.ID); err == nil && !r.running() {
			return r, done, nil
		}
		done()
		if err != nil {
			return nil, nil, err
		}
	}
}
