// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// container is a task: one container with its init and its execs.
type container struct {
	*setup
	init      *process
	resources *resources
	admission *admission
	// publishMu puts TaskStart before TaskExit: a start holds it from before the runtime starts the
	// init until TaskStart is queued, and the exit of the init takes it before TaskExit.
	publishMu sync.Mutex

	mu sync.Mutex
	// Guarded by mu.
	execs map[string]*exec
}

// exec returns an exec.
func (c *container) exec(id string) (*exec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.execs[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("container %s: exec %s: %w", c.id, id, errdefs.ErrNotFound)
}

// allExecs returns the execs of the container in no particular order.
func (c *container) allExecs() []*exec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
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
