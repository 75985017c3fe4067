// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"syscall"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TaskOptions are what a task may need beside its container's record.
type TaskOptions struct {
	// ShimPath is the shim's binary; "" for the one that the runtime type
	// stands for.
	ShimPath string
	// Rootfs is mounted as the root file system of a container without snapshot.
	Rootfs []mount.Mount
}

// NewTask makes the task of a container: its shim is started or joined and its
// init process waits for Start.
func (c *Client) NewTask(ctx context.Context, id string, io cio.Creator, opts TaskOptions) (Task, error) {
	container, err := c.containerd.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	with := []containerd.NewTaskOpts{containerd.WithRootFS(opts.Rootfs)}
	if opts.ShimPath != "" {
		with = append(with, containerd.WithRuntimePath(opts.ShimPath))
	}
	return container.NewTask(ctx, io, with...)
}

// LoadTask returns the task that a container has, and NotFound when it has
// none. attach, when not nil, opens its streams again.
func (c *Client) LoadTask(ctx context.Context, id string, attach cio.Attach) (Task, error) {
	container, err := c.containerd.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	return container.Task(ctx, attach)
}

// DeleteTask kills what is left of a container's task and deletes it; one that
// does not exist is fine.
func (c *Client) DeleteTask(ctx context.Context, id string) error {
	task, err := c.LoadTask(ctx, id, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := task.Delete(ctx, containerd.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Kill sends a signal to the init process of a task, and SIGKILL to all of its
// processes. One that has ended is NotFound.
func Kill(ctx context.Context, task Task, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return task.Kill(ctx, signal, containerd.WithKillAll)
	}
	return task.Kill(ctx, signal)
}

// OOMKilled asks the shim of a task whether the kernel has killed one of its
// processes for want of memory.
func OOMKilled(ctx context.Context, task Task) (bool, error) {
	metrics, err := task.Metrics(ctx)
	if err != nil {
		return false, err
	}
	content, err := typeurl.UnmarshalAny(metrics.GetData())
	if err != nil {
		return false, fmt.Errorf("metrics of task: %w", err)
	}
	switch m := content.(type) {
	case *v2.Metrics:
		return m.GetMemoryEvents().GetOomKill() > 0, nil
	case *v1.Metrics:
		return m.GetMemoryOomControl().GetOomKill() > 0, nil
	}
	return false, fmt.Errorf("metrics of task: %T: %w", content, errdefs.ErrNotImplemented)
}

// CloseStdin closes the shim's side of a process' stdin.
func CloseStdin(ctx context.Context, process Process) error {
	return process.CloseIO(ctx, containerd.WithStdinCloser)
}

// SetResources changes the limits of a task.
func SetResources(ctx context.Context, task Task, resources *specs.LinuxResources) error {
	return task.Update(ctx, containerd.WithResources(resources))
}
