// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"

	"github.com/containerd/containerd/api/events"

	"github.com/containerd-lite/containerd-lite/shim/oci"
)

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
		if done, err := c.runtime.StartDirectly(ctx, c.id, c.init.child.Done()); done {
			return err
		}
	}
	return c.runtime.Start(ctx, c.id)
}

// restore creates the container from its checkpoint and starts it. Its streams are opened here and
// not in create: a client waits for open streams to end before it deletes a task that was never
// started. For the same reason a task whose restore was not successful becomes stopped.
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
