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

// TaskOptions are options of a task that are not in its container's record.
type TaskOptions struct {
	// ShimPath is the path of the shim's binary; "" derives it from the runtime type.
	ShimPath string
	// Rootfs is mounted as the root file system of a container without a snapshot.
	Rootfs []mount.Mount
	// Shim is the shim that was launched for the task; nil lets containerd start or join one.
	Shim *LaunchedShim
}

// apiVersion is the version of the Task API that launched shims serve.
const apiVersion = 3

// NewTask creates the task of a container: containerd starts or joins the shim, and the init
// process waits for Start.
func (c *Client) NewTask(ctx context.Context, id string, io cio.Creator, opts TaskOptions) (Task, error) {
	container, err := c.containerd.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	with := []containerd.NewTaskOpts{containerd.WithRootFS(opts.Rootfs)}
	if opts.ShimPath != "" {
		with = append(with, containerd.WithRuntimePath(opts.ShimPath))
	}
	if opts.Shim != nil {
		with = append(with, containerd.WithTaskAPIEndpoint(opts.Shim.Endpoint(), apiVersion))
	}
	defer inShim(ctx, "create", id)()
	return watched(container.NewTask(ctx, io, with...))
}

// LoadTask returns the task of a container; the error is NotFound if there is none. attach reopens
// the task's streams; nil does not.
func (c *Client) LoadTask(ctx context.Context, id string, attach cio.Attach) (Task, error) {
	container, err := c.containerd.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	defer inShim(ctx, "state", id)()
	return watched(container.Task(ctx, attach))
}

// DeleteTask kills the processes of a container's task and deletes the task. It is no error if
// there is none, or if the shim exits before it answers: containerd then deletes the task itself.
func (c *Client) DeleteTask(ctx context.Context, id string) error {
	task, err := c.LoadTask(ctx, id, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = task.Delete(ctx, containerd.WithProcessKill)
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if _, now := c.LoadTask(ctx, id, nil); errdefs.IsNotFound(now) {
		return nil
	}
	return err
}

// Kill sends a signal to the init process of a task; SIGKILL goes to all of its processes. The
// error is NotFound if the process has exited.
func Kill(ctx context.Context, task Task, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return task.Kill(ctx, signal, containerd.WithKillAll)
	}
	return task.Kill(ctx, signal)
}

// OOMKilled asks the shim of a task whether the kernel has OOM-killed one of its processes.
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

// CloseStdin closes the shim's end of the stdin of a process.
func CloseStdin(ctx context.Context, process Process) error {
	return process.CloseIO(ctx, containerd.WithStdinCloser)
}

// SetResources changes the resource limits of a task.
func SetResources(ctx context.Context, task Task, resources *specs.LinuxResources) error {
	return task.Update(ctx, containerd.WithResources(resources))
}
