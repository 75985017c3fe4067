// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// undoTimeout bounds the rollback of a create that was not successful.
const undoTimeout = 20 * time.Second

// newContainer decodes a request. It starts and changes nothing.
func newContainer(host *Host, r *taskapi.CreateTaskRequest) (*container, error) {
	set, err := newSetup(host, r)
	if err != nil {
		return nil, err
	}
	init := newProcess(set, "", stdio.New(stdio.Config{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	}))
	return &container{
		setup:     set,
		init:      init,
		resources: &resources{setup: set},
		admission: &admission{init: init},
		execs:     make(map[string]*exec),
	}, nil
}

// create creates the container, whose init then waits for start. After an error it rolls back the
// steps that it completed. A checkpoint is restored by start, not by create.
func (c *container) create(ctx context.Context, mounts []*types.Mount) error {
	var rollback undo.Stack
	err := guard.Call(c.context(), "create", func() error {
		if c.holder != nil {
			return c.createHolder(&rollback)
		}
		return c.createProcess(ctx, mounts, &rollback)
	})
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if _, undone := rollback.Run(ctx); undone != nil {
		c.log().WithError(undone).Warn("rollback of a failed create is incomplete; resources of the container remain")
	}
	return fmt.Errorf("container %s: %w", c.id, err)
}

// createProcess creates a container that has a process. It pushes the undo of each step to
// rollback.
func (c *container) createProcess(ctx context.Context, mounts []*types.Mount, rollback *undo.Stack) error {
	if err := c.bundle.WriteOptions(c.opts); err != nil {
		return err
	}
	if len(mounts) > 0 {
		rollback.Push("unmount rootfs", func(context.Context) error { return c.removeRootfs() })
		if err := c.mount(mounts); err != nil {
			return err
		}
	}
	if c.images.Path != "" {
		return nil
	}
	rollback.Push("close streams", func(context.Context) error { return c.init.streams.Close() })
	if err := c.init.streams.Open(ctx, c.owner(), c.host.Children); err != nil {
		return err
	}
	// Pushed before the command runs: a canceled command can leave a part of the container.
	rollback.Push("delete container", func(ctx context.Context) error { return c.runtime.Delete(ctx, c.id, true) })
	child, err := c.init.launch(c.bundle.InitPidFile(), func(p *oci.Process) error {
		return c.runtime.Create(ctx, c.id, string(c.bundle), p)
	})
	if err != nil {
		return err
	}
	c.init.setChild(child)
	c.resources.findCgroup(child)
	return nil
}

// publishCreated publishes TaskCreate and then starts to watch the init, so that TaskExit follows
// it.
func (c *container) publishCreated(r *taskapi.CreateTaskRequest) {
	if c.init.child != nil {
		defer c.watchInit()
	}
	c.host.Events.Put(&events.TaskCreate{
		ContainerID: c.id,
		Bundle:      r.Bundle,
		Rootfs:      r.Rootfs,
		IO:          &events.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
		Checkpoint:  r.Checkpoint,
		Pid:         uint32(c.init.pid()),
	})
}
