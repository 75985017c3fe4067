// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"syscall"

	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/activity"
)

// onDisk begins a step of a call that waits for containerd's metadata.
func onDisk(ctx context.Context, operation, object string) (end func()) {
	return activity.Begin(ctx, activity.Wait{For: activity.Disk, Operation: operation, Object: object}, nil)
}

// inShim begins a step of a call that waits for the shim of a task.
func inShim(ctx context.Context, call, id string) (end func()) {
	return activity.Begin(ctx, activity.Wait{For: activity.Shim, Operation: call, Object: id}, nil)
}

// watchedTask is a task whose calls to its shim are steps of the calls of the CRI. Wait is none: it
// waits for the container, not for the shim.
type watchedTask struct{ containerd.Task }

func watched(task Task, err error) (Task, error) {
	if err != nil {
		return nil, err
	}
	return watchedTask{task}, nil
}

func (t watchedTask) Start(ctx context.Context) error {
	defer inShim(ctx, "start", t.ID())()
	return t.Task.Start(ctx)
}

func (t watchedTask) Kill(ctx context.Context, signal syscall.Signal, opts ...containerd.KillOpts) error {
	defer inShim(ctx, "kill", t.ID())()
	return t.Task.Kill(ctx, signal, opts...)
}

func (t watchedTask) Delete(ctx context.Context, opts ...containerd.ProcessDeleteOpts) (*ExitStatus, error) {
	defer inShim(ctx, "delete", t.ID())()
	return t.Task.Delete(ctx, opts...)
}

func (t watchedTask) Status(ctx context.Context) (Status, error) {
	defer inShim(ctx, "state", t.ID())()
	return t.Task.Status(ctx)
}

func (t watchedTask) Metrics(ctx context.Context) (*types.Metric, error) {
	defer inShim(ctx, "stats", t.ID())()
	return t.Task.Metrics(ctx)
}

func (t watchedTask) Update(ctx context.Context, opts ...containerd.UpdateTaskOpts) error {
	defer inShim(ctx, "update", t.ID())()
	return t.Task.Update(ctx, opts...)
}

func (t watchedTask) Exec(ctx context.Context, id string, spec *specs.Process, create cio.Creator) (Process, error) {
	defer inShim(ctx, "exec", t.ID())()
	p, err := t.Task.Exec(ctx, id, spec, create)
	if err != nil {
		return nil, err
	}
	return watchedProcess{p, t.ID()}, nil
}

// watchedProcess is as [watchedTask], for an exec.
type watchedProcess struct {
	containerd.Process
	task string
}

func (p watchedProcess) Start(ctx context.Context) error {
	defer inShim(ctx, "start of an exec", p.task)()
	return p.Process.Start(ctx)
}

func (p watchedProcess) Kill(ctx context.Context, signal syscall.Signal, opts ...containerd.KillOpts) error {
	defer inShim(ctx, "kill of an exec", p.task)()
	return p.Process.Kill(ctx, signal, opts...)
}

func (p watchedProcess) Delete(ctx context.Context, opts ...containerd.ProcessDeleteOpts) (*ExitStatus, error) {
	defer inShim(ctx, "delete of an exec", p.task)()
	return p.Process.Delete(ctx, opts...)
}
