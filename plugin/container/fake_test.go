// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

// fakeNode replaces containerd, the pods and the images around the manager; see package fault. The
// streams and directories of containers are real.
type fakeNode struct {
	*fault.World
	saved map[string][]byte
	tasks map[string]*fakeTask
	pod   pod.Record
	oom   bool // the cgroups have counted an OOM kill
	gone  bool // the cgroups are removed
	other bool // the shim is containerd-shim-runc-v2
	// foreign is the ID of a container of the built-in CRI.
	foreign string
	// metrics is the answer of shims to Stats; nil makes them return an error.
	metrics proto.Message

	rootfs []mount.Mount   // of each snapshot
	made   specgen.Request // the last request to Specs.Make
	labels int             // SELinux labels in use
	keeps  []string        // snapshots that the last container keeps
	joins  string          // the pod whose shim its task joins
	shim   string          // runtime_path of the handlers
	// events are the published events, each with the state of the container.
	events []string
}

// Left returns the resources that were not released.
func (f *fakeNode) Left() []string {
	left := f.World.Left()
	if f.labels != 0 {
		left = append(left, fmt.Sprintf("labels: %d", f.labels))
	}
	return left
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		World: fault.NewWorld(),
		saved: map[string][]byte{},
		tasks: map[string]*fakeTask{},
		pod: pod.Record{
			ID: "pod1", State: pod.Ready, Handler: "lite",
			Config: &runtimeapi.PodSandboxConfig{
				Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "u1"},
			},
		},
	}
}

func (f *fakeNode) CreateContainer(_ context.Context, c runtime.Container) error {
	if err := f.Makes("create container", "container"); err != nil {
		return err
	}
	f.keeps, f.joins = c.Keeps, c.Sandbox
	return f.store(c.ID, c.Record)
}

func (f *fakeNode) SaveContainer(_ context.Context, id string, record any) error {
	if err := f.Call("save " + stateName(record.(*Record))); err != nil {
		return err
	}
	return f.store(id, record)
}

func (f *fakeNode) store(id string, record any) error {
	data, err := json.Marshal(record)
	f.Lock()
	f.saved[id] = data
	f.Unlock()
	return err
}

func (f *fakeNode) PublishContainer(kind runtimeapi.ContainerEventType, r *Record) {
	f.Lock()
	defer f.Unlock()
	f.events = append(f.events, fmt.Sprintf("%s %s", kind, stateName(r)))
}

func (f *fakeNode) Spec(context.Context, string) (*specs.Spec, error) {
	return testSpec(), f.Call("read spec")
}

func (f *fakeNode) SaveSpec(_ context.Context, _ string, s *specs.Spec) error {
	return f.Call(fmt.Sprintf("save spec %d", *s.Linux.Resources.CPU.Shares))
}

func (f *fakeNode) DeleteContainer(_ context.Context, id string) error {
	if err := f.Undoes("delete container", "container"); err != nil {
		return err
	}
	f.Lose("snapshot")
	f.Lock()
	delete(f.saved, id)
	f.Unlock()
	return nil
}

func (f *fakeNode) Containers(context.Context) (records []runtime.Record, err error) {
	f.Lock()
	defer f.Unlock()
	for id, data := range f.saved {
		records = append(records, runtime.Record{ID: id, JSON: data})
	}
	return records, nil
}

func (f *fakeNode) Knows(_ context.Context, id string) (bool, error) {
	f.Lock()
	defer f.Unlock()
	return f.saved[id] != nil || f.foreign == id, nil
}

func (f *fakeNode) RenewLease(context.Context) error { f.Lose("snapshot"); return nil }

func (f *fakeNode) PrepareSnapshot(context.Context, runtime.Snapshot) ([]mount.Mount, error) {
	return f.rootfs, f.Makes("snapshot", "snapshot")
}

func (f *fakeNode) RemoveSnapshot(context.Context, string, string) error {
	return f.Undoes("remove snapshot", "snapshot")
}

func (f *fakeNode) NewTask(_ context.Context, id string, create cio.Creator, _ runtime.TaskOptions) (runtime.Task, error) {
	if _, err := create(id); err != nil {
		return nil, err
	}
	if err := f.Makes("new task", "task"); err != nil {
		f.Lose("task") // containerd cleans up after a failed call
		return nil, err
	}
	return f.addTask(id, containerd.Created), nil
}

func (f *fakeNode) addTask(id string, state containerd.ProcessStatus) *fakeTask {
	f.Lock()
	defer f.Unlock()
	f.tasks[id] = &fakeTask{node: f, id: id, state: state, ended: make(chan struct{})}
	return f.tasks[id]
}

func (f *fakeNode) task(id string) *fakeTask {
	f.Lock()
	defer f.Unlock()
	return f.tasks[id]
}

func (f *fakeNode) LoadTask(_ context.Context, id string, _ cio.Attach) (runtime.Task, error) {
	t := f.task(id)
	if t == nil {
		return nil, fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound)
	}
	return t, nil
}

func (f *fakeNode) DeleteTask(ctx context.Context, id string) error {
	if f.task(id) == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := f.Undoes("delete task by force", "task"); err != nil {
		return err
	}
	f.Lock()
	delete(f.tasks, id)
	f.Unlock()
	return nil
}

// fakeTask is a process that exits by SIGKILL, or when end is called.
type fakeTask struct {
	runtime.Task
	node  *fakeNode
	id    string
	ended chan struct{}

	mu     sync.Mutex
	state  containerd.ProcessStatus
	status containerd.Status
	lost   error         // the shim's connection is gone: Wait and Status fail, or Status panics
	stuck  chan struct{} // while it is open, signals are not delivered; nil to deliver them
}

// setError makes Status and Wait of a task fail with err, or Status panic, until err is nil.
func (t *fakeTask) setError(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = err
}

// blockSignals blocks signals to a task until unblock is called.
func (f *fakeNode) blockSignals(id string) (unblock func()) {
	t := f.task(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stuck = make(chan struct{})
	return func() { close(t.stuck) }
}

// setState changes the state that a task reports. Waits for the task do not return.
func (f *fakeNode) setState(id string, state containerd.ProcessStatus) {
	t := f.task(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}

// Pid returns the PID of a process that is running.
func (t *fakeTask) Pid() uint32 { return uint32(os.Getpid()) }

func (t *fakeTask) Start(context.Context) error {
	err := t.node.Call("start task")
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.state == containerd.Created {
			t.state = containerd.Running
		}
	}
	return err
}

func (t *fakeTask) end(code uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == containerd.Stopped {
		return
	}
	t.state = containerd.Stopped
	t.status = containerd.Status{Status: containerd.Stopped, ExitStatus: code, ExitTime: time.Unix(200, 0)}
	close(t.ended)
}

func (t *fakeTask) Status(context.Context) (containerd.Status, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(t.lost, fault.ErrPanic) {
		panic("status of " + t.id)
	}
	if t.lost != nil {
		return containerd.Status{}, t.lost
	}
	t.status.Status = t.state
	return t.status, nil
}

func (t *fakeTask) Wait(ctx context.Context) (<-chan runtime.ExitStatus, error) {
	result := make(chan runtime.ExitStatus, 1)
	go func() {
		select {
		case <-t.ended:
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.lost != nil {
				result <- *containerd.NewExitStatus(0, time.Time{}, t.lost)
				return
			}
			result <- *containerd.NewExitStatus(t.status.ExitStatus, t.status.ExitTime, nil)
		case <-ctx.Done():
			result <- *containerd.NewExitStatus(0, time.Time{}, ctx.Err())
		}
	}()
	return result, nil
}

func (t *fakeTask) Kill(_ context.Context, s syscall.Signal, _ ...containerd.KillOpts) error {
	t.mu.Lock()
	stuck := t.stuck
	t.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	err := t.node.Call(fmt.Sprintf("kill %d", int(s)))
	if err == nil && s == syscall.SIGKILL {
		t.end(137)
	}
	return err
}

func (t *fakeTask) Delete(context.Context, ...containerd.ProcessDeleteOpts) (*runtime.ExitStatus, error) {
	if err := t.node.Undoes("delete task", "task"); err != nil {
		return nil, err
	}
	t.node.Lock()
	delete(t.node.tasks, t.id)
	t.node.Unlock()
	return nil, nil
}

func (t *fakeTask) Update(context.Context, ...containerd.UpdateTaskOpts) error {
	return t.node.Call("update task")
}

func (t *fakeTask) Metrics(context.Context) (*types.Metric, error) {
	if t.node.metrics == nil {
		return nil, errBroken
	}
	data, err := typeurl.MarshalAnyToProto(t.node.metrics)
	return &types.Metric{Data: data}, err
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

func (f fakeSpecs) Make(_ context.Context, _ spec.Input, req specgen.Request) (specgen.Result, error) {
	f.made = req
	return specgen.Result{Spec: testSpec()}, f.Call("make spec")
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

// fakeLabels gives a container the label of its pod and counts the labels in use.
type fakeLabels struct{ *fakeNode }

func (f fakeLabels) Labels(_ *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error) {
	f.Reserve(podLabel)
	return spec.Labels{Process: podLabel, Mount: podLabel}, nil
}

func (f fakeLabels) Reserve(string) { f.Lock(); defer f.Unlock(); f.labels++ }
func (f fakeLabels) Release(string) { f.Lock(); defer f.Unlock(); f.labels-- }

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
	f.labels = 0
	m := New(t.Context(), Deps{
		Containerd: f,
		Pods:       fakePods{f},
		Images:     fakeImages{f},
		Handlers:   fakeHandlers{f},
		Labels:     fakeLabels{f},
		Specs:      fakeSpecs{f},
		Events:     f,
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

func containerConfig(name string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name},
		Image:    &runtimeapi.ImageSpec{Image: "busybox"},
	}
}
