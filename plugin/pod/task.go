// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// initBinary is the name of the shim's binary, which is also the init of pods; see package
// shim/podinit.
const initBinary = "containerd-shim-lite-v2"

// Containerd is the part of [runtime.Client] that [Runner] uses.
type Containerd interface {
	CreateContainer(ctx context.Context, c runtime.Container) error
	DeleteContainer(ctx context.Context, id string) error
	NewTask(ctx context.Context, id string, io cio.Creator, opts runtime.TaskOptions) (runtime.Task, error)
	LoadTask(ctx context.Context, id string, attach cio.Attach) (runtime.Task, error)
	DeleteTask(ctx context.Context, id string) error
}

// Runner runs the tasks of pods as containers without an image. The container has the ID of the
// pod, so that its shim serves the pod and cAdvisor finds the pod by it. The root file system of an
// init is an empty directory with one file, our init binary (docs/decisions/0001). A holder has
// neither a root file system nor a process (docs/decisions/0005).
type Runner struct {
	Containerd Containerd
	Handlers   Handlers
	Spec       func(req specgen.PodRequest) (*specs.Spec, error)
	// BuiltIn returns the metadata of a pod for the built-in CRI.
	BuiltIn  func(r *Record) ([]byte, error)
	CgroupOf func(req specgen.PodRequest) (string, error)
	Paths    paths.Paths
	Shims    runtime.Launcher
}

var _ Tasks = Runner{}

// Start starts the task of a pod and returns its PID. The container is saved before the task is
// created: cAdvisor asks for it as soon as it sees the cgroup.
//
// Only the deadline of ctx applies, not its cancellation: containerd forgets a task whose creation
// is cancelled, although the shim may have created it.
func (t Runner) Start(ctx context.Context, r *Record) (uint32, error) {
	ctx, cancel := withoutCancel(ctx)
	defer cancel()
	start := time.Now()
	_, handler, err := t.Handlers.Handler(r.Handler)
	if err != nil {
		return 0, err
	}
	task, err := t.create(ctx, r, handler)
	if err != nil {
		return 0, err
	}
	if err := task.Start(ctx); err != nil {
		return 0, fmt.Errorf("start task: %w", err)
	}
	metrics.Since(metrics.SandboxCreate.WithLabelValues(handler.Type), start)
	return task.Pid(), nil
}

// create launches the shim first, if it can be launched: it gets ready while the container is
// saved.
func (t Runner) create(ctx context.Context, r *Record, handler config.Handler) (runtime.Task, error) {
	if !t.Shims.CanLaunch(handler) {
		return t.createIn(ctx, nil, r, handler)
	}
	shim, err := t.Shims.Launch(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	task, err := t.createIn(ctx, shim, r, handler)
	if err != nil {
		shim.Abandon()
		return nil, err
	}
	return task, nil
}

// createIn saves the container and creates the task in a launched shim, or in one that containerd
// starts if shim is nil.
func (t Runner) createIn(ctx context.Context, shim *runtime.LaunchedShim, r *Record, handler config.Handler) (runtime.Task, error) {
	options, err := handler.RuntimeOptions()
	if err != nil {
		return nil, fmt.Errorf("runtime handler %s: %w", r.Handler, err)
	}
	rootfs, err := t.rootfs(r)
	if err != nil {
		return nil, err
	}
	spec, err := t.spec(r, handler)
	if err != nil {
		return nil, err
	}
	builtIn, err := t.BuiltIn(r)
	if err != nil {
		return nil, err
	}
	container := runtime.Container{
		ID:      r.ID,
		Kind:    runtime.KindPod,
		Labels:  r.Config.GetLabels(),
		Runtime: handler.Type,
		Options: options,
		Spec:    spec,
		BuiltIn: builtIn,
	}
	if shim != nil {
		container.Sandbox = r.ID // containerd asks for the sandbox of a task that has an address
	}
	if err := t.Containerd.CreateContainer(ctx, container); err != nil {
		return nil, fmt.Errorf("save container: %w", err)
	}
	task, err := t.Containerd.NewTask(ctx, r.ID, cio.NullIO, runtime.TaskOptions{ShimPath: handler.Path, Rootfs: rootfs, Shim: shim})
	if err != nil {
		return nil, fmt.Errorf("create task: %w", err)
	}
	return task, nil
}

func (t Runner) spec(r *Record, h config.Handler) (*specs.Spec, error) {
	init := ""
	if r.HasInit {
		var err error
		if init, err = runtime.FindProgram(initBinary); err != nil {
			return nil, err
		}
	}
	return t.Spec(specgen.PodRequest{Pod: r.SpecPod(), HandlerName: r.Handler, Handler: h, SELinux: r.SELinux, Init: init})
}

// Cgroup implements [Tasks].
func (t Runner) Cgroup(r *Record) (string, error) {
	_, handler, err := t.Handlers.Handler(r.Handler)
	if err != nil {
		return "", err
	}
	return t.CgroupOf(specgen.PodRequest{Pod: r.SpecPod(), HandlerName: r.Handler, Handler: handler})
}

// withoutCancel returns ctx with its deadline, but without its cancellation.
func withoutCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(detached, deadline)
	}
	return detached, func() {}
}

// rootfs creates the root file system of an init. It is bind-mounted, because processes in a user
// namespace cannot traverse the path to the directory.
func (t Runner) rootfs(r *Record) ([]mount.Mount, error) {
	if !r.HasInit {
		return nil, nil
	}
	root := t.Paths.Pod(r.ID).Init()
	if err := host.MakeInitRoot(root); err != nil {
		return nil, err
	}
	return []mount.Mount{{Type: "bind", Source: root, Options: []string{"bind", "ro"}}}, nil
}

// Wait waits for the end of a pod's task. The wait continues after ctx has ended, until the task or
// its shim ends: ttrpc cannot cancel a call in progress, and would log an error for the answer to
// an abandoned one.
func (t Runner) Wait(ctx context.Context, id string) (<-chan runtime.ExitStatus, error) {
	task, err := t.Containerd.LoadTask(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	return task.Wait(context.WithoutCancel(ctx))
}

// Stop deletes the task of a pod, its container and its root file system. It is idempotent, and a
// pod without a task is no error.
func (t Runner) Stop(ctx context.Context, id string) error {
	if err := t.Containerd.DeleteTask(ctx, id); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	if err := t.Containerd.DeleteContainer(ctx, id); err != nil {
		return fmt.Errorf("delete container: %w", err)
	}
	if err := t.Shims.RemoveSockets(id); err != nil {
		return err
	}
	return os.RemoveAll(t.Paths.Pod(id).Init())
}

// PingShim implements [Tasks].
func (t Runner) PingShim(ctx context.Context, id string) error {
	_, err := t.Containerd.LoadTask(ctx, id, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// KillShim implements [Tasks].
func (t Runner) KillShim(ctx context.Context, id string) error { return runtime.KillShim(ctx, id) }
