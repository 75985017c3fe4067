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
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// errExited is the reason why no exec can start.
var errExited = fmt.Errorf("the container has exited or is being killed: %w", errdefs.ErrFailedPrecondition)

// start starts the init and returns its PID.
func (c *container) start(ctx context.Context) (pid int, err error) {
	err = c.operate(ctx, start, func() error {
		c.publishMu.Lock()
		defer c.publishMu.Unlock()
		switch {
		case c.holder != nil: // create has parked its thread already
		case c.images.Path != "":
			err = c.restore(ctx)
		default:
			err = c.startInit(ctx)
		}
		if err != nil {
			return err
		}
		if err := c.init.advance(start); err != nil {
			return err
		}
		pid = c.init.pid()
		c.host.Events.Put(&events.TaskStart{ContainerID: c.id, Pid: uint32(pid)})
		return nil
	})
	return pid, err
}

// startInit starts the init of a created container, without the runtime if possible
// (docs/decisions/0011).
func (c *container) startInit(ctx context.Context) error {
	if c.noPoststart {
		if done, err := c.runtime.Release(ctx, c.id, c.init.child.Done()); done {
			return err
		}
	}
	return c.runtime.Start(ctx, c.id)
}

// restore creates the container from its checkpoint and starts it. Its streams are opened here and
// not in create: a client waits for open streams to end before it deletes a task that
// was never started. For the same reason a task whose restore was not successful becomes stopped.
func (c *container) restore(ctx context.Context) error {
	child, err := c.init.openAndLaunch(ctx, c.owner(), c.bundle.InitPidFile(), func(p *oci.Process) error {
		return c.runtime.Restore(ctx, c.id, string(c.bundle), c.images, p)
	})
	if err != nil {
		c.init.failStart()
		return err
	}
	defer c.watchInit() // takes publishMu after start has released it
	c.init.setChild(child)
	c.resources.findCgroup(child)
	return nil
}

// addExec records an exec. Its process is created by startExec.
func (c *container) addExec(r *taskapi.ExecProcessRequest) error {
	if r.ExecID == "" || filepath.Base(r.ExecID) != r.ExecID {
		return fmt.Errorf("container %s: exec id %q: %w", c.id, r.ExecID, errdefs.ErrInvalidArgument)
	}
	if err := c.requireProcess(exec); err != nil {
		return fmt.Errorf("container %s: exec %s: %w", c.id, r.ExecID, err)
	}
	p := newProcess(c.setup, r.ExecID, stdio.Config{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	})
	p.spec = &specs.Process{}
	if err := json.Unmarshal(r.Spec.GetValue(), p.spec); err != nil {
		return fmt.Errorf("container %s: exec %s: process: %w: %w", c.id, r.ExecID, errdefs.ErrInvalidArgument, err)
	}
	p.spec.Terminal = r.Terminal
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init.mu.Lock() // the init has not exited when TaskExecAdded is queued
	defer c.init.mu.Unlock()
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

// startExec starts an exec and returns its PID.
func (c *container) startExec(ctx context.Context, p *process) (int, error) {
	if err := p.operation.lock(ctx); err != nil {
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, err)
	}
	defer p.operation.unlock()
	if err := c.admitExec(p); err != nil {
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, err)
	}
	ctx, cancel := c.cancelOnInitExit(ctx)
	defer cancel()
	child, err := p.openAndLaunch(ctx, c.execOwner(p), c.bundle.ExecPidFile(p.execID), func(target *oci.Process) error {
		return c.runtime.Exec(ctx, c.id, p.spec, target)
	})
	if err != nil {
		p.failStart()
		c.execDone()
		return 0, fmt.Errorf("container %s: exec %s: %w", c.id, p.execID, c.explainExecError(err))
	}
	if err := p.setRunning(child); err != nil {
		return 0, err
	}
	defer c.watchExec(p)
	c.host.Events.Put(&events.TaskExecStarted{ContainerID: c.id, ExecID: p.execID, Pid: uint32(child.Pid())})
	return child.Pid(), nil
}

// cancelOnInitExit returns a context that is canceled when the init has exited. Otherwise the exit
// of the init would wait for an exec whose start waits for the runtime, or for a client to open its
// end of a stream.
func (c *container) cancelOnInitExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.init.mu.Lock()
	init := c.init.child
	c.init.mu.Unlock()
	if init != nil {
		go guard.Catch(ctx, "cancel the start of an exec", func() {
			select {
			case <-init.Done():
				c.rejectExecs() // explainExecError then names the reason
				cancel(errors.New("the init has exited"))
			case <-ctx.Done():
			}
		}, nil)()
	}
	return ctx, func() { cancel(nil) }
}

// admitExec counts an exec as live before the runtime runs. From then on the exit of the init waits
// for the exec.
func (c *container) admitExec(p *process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.execsRejected {
		return errExited
	}
	if err := c.init.allows(exec); err != nil {
		return err
	}
	if err := p.allows(start); err != nil {
		return err
	}
	c.liveExecs++
	return nil
}

// explainExecError adds errExited to the error of an exec that was being started while the
// container exited.
func (c *container) explainExecError(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.execsRejected {
		return err
	}
	return fmt.Errorf("%w (%w)", errExited, err)
}

// execDone counts an exec as no longer live.
func (c *container) execDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.liveExecs--
	if c.liveExecs == 0 && c.execsDone != nil {
		close(c.execsDone)
		c.execsDone = nil
	}
}
