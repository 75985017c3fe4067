// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// container is a task: one container with its init and its execs.
type container struct {
	*setup
	init      *process
	resources *resources
	// publishMu puts TaskStart before TaskExit: a start holds it from before the runtime starts the
	// init until TaskStart is queued, and the exit of the init takes it before TaskExit.
	publishMu sync.Mutex

	mu sync.Mutex
	// Guarded by mu.
	execs         map[string]*process
	liveExecs     int           // execs that are starting or running
	execsRejected bool          // set when the init has exited or was killed: no exec can start
	execsDone     chan struct{} // closed when liveExecs is 0; nil if unused
}

// find returns an exec, or the init for "".
func (c *container) find(execID string) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if execID == "" {
		return c.init, nil
	}
	if p := c.execs[execID]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("container %s: exec %s: %w", c.id, execID, errdefs.ErrNotFound)
}

// operate runs a runtime operation on the init if its state allows v. Operations run one at a time.
func (c *container) operate(ctx context.Context, v verb, run func() error) error {
	if err := c.init.operation.lock(ctx); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	defer c.init.operation.unlock()
	if err := c.requireProcess(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	if err := c.init.allows(v); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	if err := guard.Call(c.context(), string(v), run); err != nil {
		return fmt.Errorf("container %s: %w", c.id, err)
	}
	return nil
}

// allExecs returns the execs of the container in no particular order.
func (c *container) allExecs() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
}

// detached returns a context for work that must complete even if the call that started it is
// canceled or does not wait for it.
func detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
