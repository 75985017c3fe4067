// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Tasks is what [Init] needs of package runtime.
type Tasks interface {
	CreateContainer(ctx context.Context, c runtime.Container) error
	DeleteContainer(ctx context.Context, id string) error
	NewTask(ctx context.Context, id string, io cio.Creator, opts runtime.TaskOptions) (runtime.Task, error)
	LoadTask(ctx context.Context, id string, attach cio.Attach) (runtime.Task, error)
	DeleteTask(ctx context.Context, id string) error
}

// Init runs the init of a pod as a container without an image: its root is an
// empty directory, its one file a binary of ours (docs/decisions/0001). The
// container has the id of the pod, so that its shim is the pod's.
type Init struct {
	Tasks    Tasks
	Handlers Handlers
	Spec     func(r *Record, h config.Handler) (*specs.Spec, error)
	StateDir string
}

var _ Inits = Init{}

// Start starts the init of a pod and returns its pid.
func (i Init) Start(ctx context.Context, r *Record) (uint32, error) {
	_, handler, err := i.Handlers.Handler(r.Handler)
	if err != nil {
		return 0, err
	}
	options, err := handler.RuntimeOptions()
	if err != nil {
		return 0, fmt.Errorf("runtime handler %s: %w", r.Handler, err)
	}
	if err := host.MakeInitRoot(i.root(r.ID)); err != nil {
		return 0, err
	}
	spec, err := i.Spec(r, handler)
	if err != nil {
		return 0, err
	}
	err = i.Tasks.CreateContainer(ctx, runtime.Container{
		ID:      r.ID,
		Labels:  sandboxLabels(r),
		Runtime: handler.Type,
		Options: options,
		Spec:    spec,
	})
	if err != nil {
		return 0, fmt.Errorf("save container: %w", err)
	}
	// Mounted, because in a user namespace nobody could reach it where it is.
	task, err := i.Tasks.NewTask(ctx, r.ID, cio.NullIO, runtime.TaskOptions{
		ShimPath: handler.Path,
		Rootfs:   []mount.Mount{{Type: "bind", Source: i.root(r.ID), Options: []string{"bind", "ro"}}},
	})
	if err != nil {
		return 0, fmt.Errorf("create task: %w", err)
	}
	if err := task.Start(ctx); err != nil {
		return 0, fmt.Errorf("start task: %w", err)
	}
	return task.Pid(), nil
}

// Wait waits for the end of a pod's init.
func (i Init) Wait(ctx context.Context, id string) (<-chan runtime.ExitStatus, error) {
	task, err := i.Tasks.LoadTask(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	return task.Wait(ctx)
}

// Stop kills the init of a pod and removes what it was made of. It may be
// called again, and for a pod that has none.
func (i Init) Stop(ctx context.Context, id string) error {
	if err := i.Tasks.DeleteTask(ctx, id); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	if err := i.Tasks.DeleteContainer(ctx, id); err != nil {
		return fmt.Errorf("delete container: %w", err)
	}
	return os.RemoveAll(i.root(id))
}

func (i Init) root(id string) string {
	return filepath.Join(i.StateDir, "sandboxes", id, "init")
}
