// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// errEnded is why no exec can start.
var errEnded = fmt.Errorf("the container has ended: %w", errdefs.ErrFailedPrecondition)

// start lets the init run and returns its process number.
func (c *container) start(ctx context.Context) (pid int, err error) {
	err = c.operate(ctx, start, func() error {
		c.init.announce.Lock()
		defer c.init.announce.Unlock()
		switch {
		case c.holder != nil: // is there since it was made
		case c.images.Path != "":
			err = c.restore(ctx)
		default:
			err = c.release(ctx)
		}
		if err != nil {
			return err
		}
		if err := c.advance(c.init, start); err != nil {
			return err
		}
		pid = c.initPid()
		c.host.Events.Put(&events.TaskStart{ContainerID: c.id, Pid: uint32(pid)})
		return nil
	})
	return pid, err
}

// release lets the init of a created container run, by the runtime's command
// only if it must be.
func (c *container) release(ctx context.Context) error {
	if c.plain {
		if done, err := c.runtime.Release(ctx, c.id, c.init.child.Done()); done {
			return err
		}
	}
	return c.runtime.Start(ctx, c.id)
}

// restore makes the container from its checkpoint and starts it. Only then are its streams opened:
// a client that gives up a task without a process waits for the streams that are open to end, and
// deletes the task after that. For the same reason a task that was not restored has ended.
func (c *container) restore(ctx context.Context) error {
	child, err := c.open(ctx, c.init, c.bundle.InitPidFile(), func(p *oci.Process) error {
		return c.runtime.Restore(ctx, c.id, string(c.bundle), c.images, p)
	})
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.init.abandonLocked()
		return err
	}
	defer c.watchInit() // which waits for announce
	c.adopt(c.init, child)
	c.findGroup()
	return nil
}

// addExec records an exec. Nothing runs until it is started.
func (c *container) addExec(r *taskapi.ExecProcessRequest) error {
	if r.ExecID == "" || filepath.Base(r.ExecID) != r.ExecID {
		return fmt.Errorf("container %s: exec id %q: %w", c.id, r.ExecID, errdefs.ErrInvalidArgument)
	}
	if err := c.refuse(exec); err != nil {
		return fmt.Errorf("container %s: exec %s: %w", c.id, r.ExecID, err)
	}
	p := newProcess(r.ExecID, stdio.Config{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	})
	p.spec = &specs.Process{}
	if err := json.Unmarshal(r.Spec.GetValue(), p.spec); err != nil {
		return fmt.Errorf("container %s: exec %s: process: %w: %w", c.id, r.ExecID, errdefs.ErrInvalidArgument, err)
	}
	p.spec.Terminal = r.Terminal
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.init.state.after(exec); err != nil {
		return fmt.Errorf("container %s: exec %s: %w", c.id, r.ExecID, err)
	}
	if c.execs[r.ExecID] != nil {
		return fmt.Errorf("container %s: exec %s: %w", c.id, r.ExecID, errdefs.ErrAlreadyExists)
	}
	c.execs[r.ExecID] = p
	c.host.Events.Put(&events.TaskExecAdded{ContainerID: c.id, ExecID: r.ExecID})
	return nil
}

// startExec runs an exec and returns its process number.
func (c *container) startExec(ctx context.Context, p *process) (int, error) {
	if err := p.turn.take(ctx); err != nil {
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, err)
	}
	defer p.turn.give()
	if err := c.admitExec(p); err != nil {
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, err)
	}
	ctx, cancel := c.whileAlive(ctx)
	defer cancel()
	child, err := c.open(ctx, p, c.bundle.ExecPidFile(p.execID), func(target *oci.Process) error {
		return c.runtime.Exec(ctx, c.id, p.spec, target)
	})
	if err != nil {
		c.abandonExec(p)
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, c.explain(err))
	}
	if err := c.adoptExec(p, child); err != nil {
		return 0, err
	}
	defer c.watchExec(p)
	c.host.Events.Put(&events.TaskExecStarted{ContainerID: c.id, ExecID: p.execID, Pid: uint32(child.Pid())})
	return child.Pid(), nil
}

// whileAlive returns a context that ends with the init, which waits for execs that are
// being started: for a client that opens its end of a stream, or for the runtime.
func (c *container) whileAlive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	init := c.init.child
	c.mu.Unlock()
	if init != nil {
		go guard.Catch(ctx, "stop starting an exec", func() {
			select {
			case <-init.Done():
				c.shutDoor() // so that the error says why
				cancel(errors.New("the init has ended"))
			case <-ctx.Done():
			}
		}, nil)()
	}
	return ctx, func() { cancel(nil) }
}

// admitExec counts an exec as live, before the runtime runs: from here on the
// end of the init waits for it.
func (c *container) admitExec(p *process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errEnded
	}
	if _, err := c.init.state.after(exec); err != nil {
		return err
	}
	if _, err := p.state.after(start); err != nil {
		return err
	}
	c.live++
	return nil
}

// adopt lets a process be found. One whose streams broke meanwhile is ended.
func (c *container) adopt(p *process, child *reap.Child) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptLocked(p, child)
}

func (c *container) adoptLocked(p *process, child *reap.Child) {
	p.child = child
	if p.broken {
		_ = child.KillGroup()
	}
}

func (c *container) adoptExec(p *process, child *reap.Child) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptLocked(p, child)
	return p.advanceLocked(start)
}

// open opens the streams of a process and launches it. They are closed after an error.
func (c *container) open(ctx context.Context, p *process, pidFile string, run func(*oci.Process) error) (child *reap.Child, err error) {
	const what = "start of a process"
	err = guard.Call(c.context(), what, func() (err error) {
		if err := p.streams.Open(ctx, c.owner(p), c.host.Children); err != nil {
			return err
		}
		child, err = c.launch(p, pidFile, run)
		return err
	})
	if err != nil {
		guard.Catch(c.context(), what, func() { _ = p.streams.Close() }, nil)()
		return nil, err
	}
	return child, nil
}

// abandonExec ends an exec that could not be started.
func (c *container) abandonExec(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.abandonLocked()
	c.leaveLocked()
}

// explain says of an exec that failed while the container was ending that this is why.
func (c *container) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.down {
		return err
	}
	return fmt.Errorf("%w (%w)", errEnded, err)
}

// leave counts an exec as no longer live.
func (c *container) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked()
}

func (c *container) leaveLocked() {
	c.live--
	if c.live == 0 && c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}
