// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// fakeContainers has a running container "web" and an exited container "old". Its functions
// implement Exec and Attach.
type fakeContainers struct {
	exec   func(context.Context, container.ExecOptions) (uint32, error)
	attach func(context.Context, container.AttachOptions) error
}

func (fakeContainers) Get(id string) (*container.Record, error) {
	r := &container.Record{ID: id, Config: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: id}}}
	switch id {
	case "web":
		r.Times.Started = 1
	case "old":
		r.Times.Started, r.Times.Finished = 1, 2
	default:
		return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
	}
	return r, nil
}

func (f fakeContainers) Exec(ctx context.Context, _ string, opts container.ExecOptions) (uint32, error) {
	return f.exec(ctx, opts)
}

func (f fakeContainers) Attach(ctx context.Context, _ string, opts container.AttachOptions) error {
	return f.attach(ctx, opts)
}

// fakePods has pods by id.
type fakePods map[string]*pod.Record

func (f fakePods) Get(id string) (*pod.Record, error) {
	if r, ok := f[id]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("pod sandbox %q: %w", id, errdefs.ErrNotFound)
}

func newPod(state pod.State, change func(*pod.Record)) *pod.Record {
	r := &pod.Record{ID: "p", State: state, Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default"},
	}}
	if change != nil {
		change(r)
	}
	return r
}

// hostNetwork puts a pod into the network of the host.
func hostNetwork(r *pod.Record) {
	r.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
	}}
}

// serve runs a server until the test ends or the returned function is called.
func serve(t *testing.T, opts Options, containers fakeContainers, pods fakePods) (*Server, func()) {
	t.Helper()
	if opts.Address == "" {
		opts.Address = "127.0.0.1"
	}
	if opts.Port == "" {
		opts.Port = "0"
	}
	s, err := New(opts, containers, pods)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	stop := func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		served <- nil
	}
	t.Cleanup(stop)
	return s, stop
}
