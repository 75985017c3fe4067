// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Remove removes a container with everything it has but its log, killing it
// first if it runs. A container that nobody knows is fine. A removal under way
// is joined, and goes on when ctx ends; what failed is resumed by the next.
func (m *Manager) Remove(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	result := m.removes.DoChan(r.ID, func() (any, error) {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
		defer cancel()
		return nil, guard.Call(detached, "remove", func() error { return m.remove(detached, r) })
	})
	select {
	case done := <-result:
		if done.Err != nil {
			return fmt.Errorf("%s: %w", r, done.Err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: its removal goes on: %w", r, ctx.Err())
	}
}

func (m *Manager) remove(ctx context.Context, r *Record) error {
	r, done, err := m.claim(ctx, r)
	if errdefs.IsNotFound(err) {
		return nil // removed by somebody else since
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
	if err := m.removeImageVolumes(ctx, r); err != nil {
		return err
	}
	if err := m.Containerd.DeleteContainer(ctx, r.ID); err != nil {
		return fmt.Errorf("delete container: %w", err)
	}
	if err := m.Dirs.remove(r.ID); err != nil {
		return err
	}
	m.Labels.Release(r.SELinux.Process)
	// Last, so that nobody can take the name while something is left.
	m.containers.Forget(r.ID)
	m.creates.Forget(r.ID)
	return nil
}

// claim takes a container that does not run, so that nobody can start it. done
// gives it back.
func (m *Manager) claim(ctx context.Context, r *Record) (_ *Record, done func(), err error) {
	for {
		if err := m.Stop(ctx, r.ID, 0); err != nil {
			return nil, nil, err
		}
		// A start may have come in between. It is waited for, and stopped, too;
		// there is but one in the life of a container.
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
