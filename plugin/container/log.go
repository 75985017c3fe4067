// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
)

// ReopenLog makes a running container write to a new log file, after the old
// one was moved away. No line is lost or cut.
func (m *Manager) ReopenLog(ctx context.Context, id string) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	if _, err := r.runningTask(); err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	if err := r.live.streams.ReopenLog(ctx); err != nil {
		return fmt.Errorf("%s: reopen log: %w", r, err)
	}
	return nil
}
