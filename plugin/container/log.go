// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// ReopenLog continues the log of a running container in a new file after the old one was renamed.
// No line is lost or split.
func (m *Manager) ReopenLog(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	task, err := r.runningTask()
	if err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	err = r.life.streams.ReopenLog(ctx)
	if err != nil && m.watcher.hasEnded(ctx, r, task) {
		err = fmt.Errorf("the container has exited: %w (%w)", errdefs.ErrFailedPrecondition, err)
	}
	if err != nil {
		return fmt.Errorf("%s: reopen log: %w", r, err)
	}
	return nil
}
