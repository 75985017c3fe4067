// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// errExited is the reason why no exec can start.
var errExited = fmt.Errorf("the container has exited or is being killed: %w", errdefs.ErrFailedPrecondition)

// admission decides whether an exec of a container can start. The exit of the init waits for the
// execs that it has admitted.
type admission struct {
	init *process

	mu sync.Mutex
	// Guarded by mu.
	rejected bool          // set when the init has exited or was killed: no exec can start
	live     int           // execs that are starting or running
	idle     chan struct{} // closed when live is 0; nil if unused
}

// admit counts an exec as live before the runtime runs.
func (a *admission) admit(p *process) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rejected {
		return errExited
	}
	if err := a.init.allows(execute); err != nil {
		return err
	}
	if err := p.allows(start); err != nil {
		return err
	}
	a.live++
	return nil
}

// done counts an exec as no longer live.
func (a *admission) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live--
	if a.live == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
}

// reject makes the start of execs an error. It is called before SIGKILL is sent: the kill may
// freeze a v1 cgroup, and the runtime would report to an exec that the container is paused.
func (a *admission) reject() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rejected = true
}

// explain adds errExited to the error of an exec that was being started while the container exited.
func (a *admission) explain(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.rejected {
		return err
	}
	return fmt.Errorf("%w (%w)", errExited, err)
}

// whenIdle returns a channel that is closed when no exec is live, or nil if none is live now.
func (a *admission) whenIdle() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live == 0 {
		return nil
	}
	a.idle = make(chan struct{})
	return a.idle
}

// cancelOnInitExit returns a context that is canceled when the init has exited. Otherwise the exit
// of the init would wait for an exec whose start waits for the runtime, or for a client to open its
// end of a stream.
func (a *admission) cancelOnInitExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.init.mu.Lock()
	init := a.init.child
	a.init.mu.Unlock()
	if init != nil {
		go guard.Catch(ctx, "cancel the start of an exec", func() {
			select {
			case <-init.Done():
				a.reject() // explain then names the reason
				cancel(errors.New("the init has exited"))
			case <-ctx.Done():
			}
		}, nil)()
	}
	return ctx, func() { cancel(nil) }
}
