// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// cancellingContainerd cancels the caller's context in NewTask.
type cancellingContainerd struct {
	Containerd
	cancel  context.CancelFunc
	newTask context.Context // that NewTask got
}

func (*cancellingContainerd) CreateContainer(context.Context, runtime.Container) error { return nil }

func (h *cancellingContainerd) NewTask(ctx context.Context, _ string, _ cio.Creator, _ runtime.TaskOptions) (runtime.Task, error) {
	h.cancel()
	h.newTask = ctx
	return nil, errors.Join(errBroken, ctx.Err())
}

// Cancellation of the caller does not reach the creation of a task, which would leave an unknown
// shim. The deadline does.
func TestTaskStartIsNotCancelled(t *testing.T) {
	until := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), until)
	defer cancel()
	h := &cancellingContainerd{cancel: cancel}
	runner := Runner{
		Containerd: h,
		Handlers:   fakeHandlers{},
		Spec:       func(specgen.PodRequest) (*specs.Spec, error) { return &specs.Spec{}, nil },
		BuiltIn:    func(*Record) ([]byte, error) { return nil, nil },
	}
	_, err := runner.Start(ctx, &Record{ID: "pod1"})
	if !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v", err)
	}
	if deadline, ok := h.newTask.Deadline(); !ok || !deadline.Equal(until) {
		t.Errorf("deadline of NewTask %v, want %v", deadline, until)
	}
}

// refusingContainerd returns an error from NewTask and keeps what it was called with.
type refusingContainerd struct {
	Containerd
	container runtime.Container
	options   runtime.TaskOptions
}

func (c *refusingContainerd) CreateContainer(_ context.Context, container runtime.Container) error {
	c.container = container
	return nil
}

func (c *refusingContainerd) NewTask(_ context.Context, _ string, _ cio.Creator, opts runtime.TaskOptions) (runtime.Task, error) {
	c.options = opts
	return nil, errBroken
}

// The task of a pod is created in a shim that the plugin has launched. If it is not created, the
// shim and its socket go. A shim that several pods may share is started by containerd.
func TestTaskInLaunchedShim(t *testing.T) {
	dir, err := os.MkdirTemp("", "pod") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, initBinary), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for handler, launched := range map[string]bool{"lite": true, "shared": false, "runc": false} {
		c := &refusingContainerd{}
		runner := Runner{
			Containerd: c,
			Handlers:   fakeHandlers{},
			Spec:       func(specgen.PodRequest) (*specs.Spec, error) { return &specs.Spec{}, nil },
			BuiltIn:    func(*Record) ([]byte, error) { return nil, nil },
			Shims:      runtime.Launcher{Sockets: filepath.Join(dir, "s"), Events: "/events"},
		}
		ctx := namespaces.WithNamespace(t.Context(), "k8s.io")
		if _, err := runner.Start(ctx, &Record{ID: "pod1", Handler: handler}); !errors.Is(err, errBroken) {
			t.Errorf("%s: Start = %v", handler, err)
		}
		if got := c.options.Shim != nil; got != launched {
			t.Errorf("%s: launched %v, want %v", handler, got, launched)
		}
		if got := c.container.Sandbox == "pod1"; got != launched {
			t.Errorf("%s: sandbox of the container %q", handler, c.container.Sandbox)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "s")); err == nil && len(left) != 0 {
			t.Errorf("%s: left in the socket directory: %v", handler, left)
		}
	}
}
