// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

// fakeNode fakes containerd, the pods and the images around the manager. The streams and
// directories of containers are real.
type fakeNode struct {
	*runtimetest.Containerd
	pod    pod.Record
	oom    bool            // the cgroups have counted an OOM kill
	gone   bool            // the cgroups are removed
	other  bool            // the shim is containerd-shim-runc-v2
	made   specgen.Request // the last request to Specs.Make
	shim   string          // runtime_path of the handlers
	events []string        // published events, each with the state of the container
	// inShim runs the command of an ExecSync in the shim; nil if the shim is of an earlier release.
	inShim  func(ctx context.Context, c runtime.ShimCommand) (uint32, error)
	plugins Plugins
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		plugins:    nri.Disabled(),
		Containerd: runtimetest.New(func(record any) string { return stateName(record.(*Record)) }),
		pod: pod.Record{
			ID: "pod1", State: pod.Ready, Handler: "lite",
			Config: &runtimeapi.PodSandboxConfig{
				Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "u1"},
			},
		},
	}
}

func (f *fakeNode) PublishContainer(kind runtimeapi.ContainerEventType, r *Record) {
	f.Lock()
	defer f.Unlock()
	f.events = append(f.events, fmt.Sprintf("%s %s", kind, stateName(r)))
}

type fakePods struct{ *fakeNode }

func (f fakePods) AwaitTask(context.Context, string) error { return nil }

func (f fakePods) Get(id string) (*pod.Record, error) {
	f.Lock()
	defer f.Unlock()
	if id != f.pod.ID {
		return nil, fmt.Errorf("pod sandbox %q: %w", id, errdefs.ErrNotFound)
	}
	p := f.pod
	return &p, nil
}

func (fakePods) Sandbox(_ context.Context, r *pod.Record) *api.PodSandbox {
	return &api.PodSandbox{Id: r.ID, Name: r.Config.GetMetadata().GetName()}
}

func (f fakePods) Hold(id string, do func(*pod.Record) error) error {
	p, err := f.Get(id)
	if err != nil {
		return err
	}
	return do(p)
}

func (f *fakeNode) setPod(s pod.State) {
	f.Lock()
	defer f.Unlock()
	f.pod.State = s
}

type fakeImages struct{ *fakeNode }

func (f fakeImages) Resolve(_ context.Context, ref string) (image.Image, error) {
	if ref != "busybox" {
		return image.Image{}, fmt.Errorf("image %s: %w", ref, errdefs.ErrNotFound)
	}
	return image.Image{ID: "sha256:1", Names: []string{"busybox"}}, nil
}

func (f fakeImages) Unpack(context.Context, image.Image, string) error { return f.Call("unpack") }

type fakeHandlers struct{ *fakeNode }

func (f fakeHandlers) Handler(name string) (string, config.Handler, error) {
	if f.other {
		return name, config.Handler{Type: config.RuncRuntimeType}, nil
	}
	return name, config.Handler{Type: config.LiteRuntimeType, Path: f.shim}, nil
}

type fakeSpecs struct{ *fakeNode }

func (f fakeSpecs) Make(_ context.Context, _ spec.Input, req specgen.Request) (*specs.Spec, error) {
	f.made = req
	return testSpec(), f.Call("make spec")
}

func (f fakeSpecs) Check(context.Context, specgen.Request) (spec.Input, error) {
	return spec.Input{}, f.Call("check spec")
}

func (f fakeSpecs) Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error) {
	updated := *current
	shares := uint64(want.GetCpuShares())
	updated.Linux = &specs.Linux{Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}}}
	return &updated, f.Call("merge resources")
}

func (f fakeSpecs) Adjust(_ context.Context, s *specs.Spec, a *api.ContainerAdjustment, _ string) (*specs.Spec, error) {
	adjusted, process, linux := *s, *s.Process, *s.Linux
	process.Args = a.GetArgs()
	linux.CgroupsPath = a.GetLinux().GetCgroupsPath()
	adjusted.Process, adjusted.Linux = &process, &linux
	return &adjusted, f.Call("adjust spec")
}

func (f fakeSpecs) UpdateNRI(current *specs.Spec, want *api.LinuxResources) (*specs.Spec, error) {
	updated := *current
	updated.Linux = &specs.Linux{Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{
		Cpus: want.GetCpu().GetCpus(), Shares: current.Linux.Resources.CPU.Shares,
	}}}
	return &updated, f.Call("merge resources of plugins")
}

type fakeShimExecs struct{ *fakeNode }

func (f fakeShimExecs) Run(ctx context.Context, c runtime.ShimCommand) (uint32, error) {
	if f.inShim == nil {
		return 0, errdefs.ErrNotImplemented
	}
	return f.inShim(ctx, c)
}

// fakeLabels gives a container the label of its pod and counts the labels in use.
type fakeLabels struct{ *fakeNode }

func (f fakeLabels) Labels(_ *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error) {
	f.Reserve(podLabel)
	return spec.Labels{Process: podLabel, Mount: podLabel}, nil
}

func (f fakeLabels) Reserve(string) { f.Add("labels", 1) }
func (f fakeLabels) Release(string) { f.Add("labels", -1) }

func testSpec() *specs.Spec {
	shares := uint64(2)
	return &specs.Spec{
		Process: &specs.Process{Args: []string{"top"}},
		Linux: &specs.Linux{
			CgroupsPath: "/pod1/c1",
			Resources:   &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}},
		},
	}
}

// newManager returns a manager on a fake node. Two managers with the same dir stand for the daemon
// before and after a restart.
func newManager(t *testing.T, f *fakeNode, dir string) *Manager {
	t.Helper()
	var mu sync.Mutex
	ids := 0
	f.Lose("labels")
	m := New(t.Context(), Deps{
		Containerd: f.Containerd,
		Pods:       fakePods{f},
		Images:     fakeImages{f},
		Handlers:   fakeHandlers{f},
		Labels:     fakeLabels{f},
		Specs:      fakeSpecs{f},
		Execs:      ExecSyncOptions{Shims: fakeShimExecs{f}, Drain: func() time.Duration { return 0 }},
		Logs:       Logs{MaxLine: func() int { return 0 }},
		Events:     f,
		Plugins:    f.plugins,
		Dirs:       Dirs{paths.Paths{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")}},
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			ids++
			return fmt.Sprintf("c%d", ids)
		},
		Now:         func() time.Time { return time.Unix(100, 0) },
		Snapshotter: func(string) string { return "overlayfs" },
		OOMKilled: func(string) (killed, known bool) {
			f.Lock()
			defer f.Unlock()
			return f.oom && !f.gone, !f.gone
		},
	})
	t.Cleanup(m.Close)
	return m
}

// recoveredManager returns a manager after the recovery of the containers of a node.
func recoveredManager(t *testing.T, f *fakeNode, dir string) *Manager {
	t.Helper()
	m := newManager(t, f, dir)
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func containerConfig(name string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name},
		Image:    &runtimeapi.ImageSpec{Image: "busybox"},
	}
}
