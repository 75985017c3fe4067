// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode fakes all dependencies of the manager.
type fakeNode struct {
	*runtimetest.Containerd
	exit  chan runtime.ExitStatus
	shim  error // of CheckShim
	stuck bool  // the shim does not answer
	// unpinned is true once the manager has unpinned the namespaces.
	unpinned bool
	// strayFiles and attached are files and CNI attachments that a power failure restored, by pod
	// ID.
	strayFiles []string
	attached   map[string]string
	hostname   string            // of the host
	hostnames  map[string]string // in the files of pods, by ID
	events     []string          // published events, each with the state of the pod
	published  func(*Record)
	plugins    Plugins
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		plugins:    nri.Disabled(),
		Containerd: runtimetest.New(func(record any) string { return string(record.(*Record).State) }),
		exit:       make(chan runtime.ExitStatus, 1),
		hostnames:  map[string]string{},
	}
}

func (f *fakeNode) PublishPod(kind runtimeapi.ContainerEventType, r *Record) {
	if f.published != nil {
		f.published(r)
	}
	f.Lock()
	defer f.Unlock()
	f.events = append(f.events, fmt.Sprintf("%s %s", kind, r.State))
}

type fakeNamespaces struct{ *fakeNode }

func (fakeNamespaces) Plan(o network.PinOptions) network.Namespaces {
	ns := network.Namespaces{IPC: "/ns/ipc", UTS: "/ns/uts"}
	if o.Net {
		ns.Net = "/ns/net"
	}
	return ns
}

func (f fakeNamespaces) Pin(_ context.Context, o network.PinOptions) (network.Namespaces, error) {
	var kinds []string
	for kind, on := range map[string]bool{"net": o.Net, "ipc": o.IPC, "uts": o.UTS} {
		if on {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return f.Plan(o), f.Makes("pin "+strings.Join(kinds, " "), "namespaces")
}

func (f fakeNamespaces) Tune(network.PinOptions) error { return f.Call("tune") }

func (f fakeNamespaces) Pinned(network.Namespaces) bool {
	return f.Has("namespaces")
}

func (f fakeNamespaces) Unpin(context.Context, string, network.Namespaces) error {
	err := f.Undoes("unpin", "namespaces")
	f.unpinned = f.unpinned || err == nil
	return err
}

type fakeNetwork struct{ *fakeNode }

func (f fakeNetwork) Attach(_ context.Context, p network.Pod) (network.Result, error) {
	return network.Result{IP: "10.0.0.2"}, f.Makes("attach "+p.NetNS, "address")
}

// Detach does not release the address without the namespace.
func (f fakeNetwork) Detach(_ context.Context, p network.Pod) error {
	if p.NetNS == "" || f.unpinned {
		return f.Call("detach without namespace")
	}
	return f.Undoes("detach", "address")
}

func (f fakeNetwork) Attached() (map[string]string, error) { return f.attached, nil }

type fakeFiles struct{ *fakeNode }

func (f fakeFiles) Create(id, hostname string, _ *runtimeapi.PodSandboxConfig) error {
	f.Lock()
	f.hostnames[id] = hostname
	f.Unlock()
	return f.Makes("make files", "files")
}

func (f fakeFiles) Remove(string) error { return f.Undoes("remove files", "files") }

func (f fakeFiles) IDs() ([]string, error) { return f.strayFiles, nil }

type fakeTasks struct{ *fakeNode }

func (fakeTasks) Cgroup(r *Record) (string, error) { return "/kubepods/" + r.ID, nil }

func (f fakeTasks) Start(context.Context, *Record) (uint32, error) {
	return 42, f.Makes("start task", "task")
}

// Wait continues when ctx has ended, as that of Runner does.
func (f fakeTasks) Wait(context.Context, string) (<-chan runtime.ExitStatus, error) {
	if err := f.Ask("wait"); err != nil {
		return nil, err
	}
	if !f.Has("task") {
		return nil, errdefs.ErrNotFound
	}
	return f.exit, nil
}

func (f fakeTasks) Stop(ctx context.Context, _ string) error {
	if f.isStuck() {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.Undoes("stop task", "task")
}

func (f fakeTasks) PingShim(ctx context.Context, _ string) error {
	if f.isStuck() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f fakeTasks) KillShim(context.Context, string) error {
	err := f.Undoes("kill shim", "task")
	if err == nil {
		f.Lose("shim")
	}
	f.setStuck(err != nil)
	return err
}

func (f *fakeNode) isStuck() bool {
	f.Lock()
	defer f.Unlock()
	return f.stuck
}

// setStuck sets whether the shim of the pod answers.
func (f *fakeNode) setStuck(stuck bool) {
	f.Lock()
	defer f.Unlock()
	f.stuck = stuck
}

// loseTask ends the task of a pod, as if its shim was killed.
func (f *fakeNode) loseTask() {
	f.Lose("task")
	f.exit <- runtime.ExitStatus{}
}

type fakeMembers struct{ *fakeNode }

// StopAll waits while the shim is stuck.
func (f fakeMembers) StopAll(ctx context.Context, _ string) error {
	for f.isStuck() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.Call("stop containers")
}

func (f fakeMembers) RemoveAll(context.Context, string) error { return f.Call("remove containers") }

type fakeHandlers struct{}

func (fakeHandlers) Handler(name string) (string, config.Handler, error) {
	switch name {
	case "", "lite":
		return "lite", config.Handler{Type: "io.containerd.lite.v2"}, nil
	case "shared":
		return "shared", config.Handler{Type: "io.containerd.lite.v2", Options: map[string]any{"Sharing": "node"}}, nil
	case "runc":
		return "runc", config.Handler{Type: "io.containerd.runc.v2"}, nil
	}
	return "", config.Handler{}, fmt.Errorf("handler %q: %w", name, errdefs.ErrInvalidArgument)
}

// newManager returns a manager on a node. A second manager on the same node is the daemon after a
// restart.
func newManager(t *testing.T, f *fakeNode) *Manager {
	t.Helper()
	ids := 0
	f.Lose("labels")
	m := New(t.Context(), Deps{
		Records:    f.Containerd,
		Namespaces: fakeNamespaces{f},
		Network:    fakeNetwork{f},
		Files:      fakeFiles{f},
		Tasks:      fakeTasks{f},
		Handlers:   fakeHandlers{},
		Labels:     fakeLabels{f},
		Events:     f,
		Plugins:    f.plugins,
		CheckShim:  func(config.Handler) error { return f.shim },
		BootID:     "first",

		Unprivileged: func() Unprivileged { return Unprivileged{} },
		Hostname:     func() (string, error) { return f.hostname, nil },
		NewID:        func() string { ids++; return fmt.Sprintf("pod%d", ids) },
		Now:          func() time.Time { return time.Unix(100, 0) },
	})
	t.Cleanup(m.Close)
	return m
}

// recoveredManager returns a manager after the recovery of the pods on a node.
func recoveredManager(t *testing.T, f *fakeNode) *Manager {
	t.Helper()
	m := newManager(t, f)
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func mustRun(t *testing.T, m *Manager, config *runtimeapi.PodSandboxConfig) (id string) {
	t.Helper()
	id, err := m.Run(t.Context(), config, "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustStop(t *testing.T, m *Manager, f *fakeNode, id string) {
	t.Helper()
	if err := m.Stop(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t *testing.T, m *Manager, f *fakeNode, id string) {
	t.Helper()
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
}

// checkLeft expects that all resources were released.
func checkLeft(t *testing.T, f *fakeNode) {
	t.Helper()
	if left := f.Left(); len(left) != 0 {
		t.Errorf("left: %v\n%s", left, f.Trace())
	}
}

// fakeLabels returns the same label for every pod and counts its users.
type fakeLabels struct{ *fakeNode }

const testLabel = "u:r:t:s0:c1,c2"

func (f fakeLabels) Labels(o *runtimeapi.SELinuxOption, _ string) (spec.Labels, error) {
	if o.GetLevel() == "bad" {
		return spec.Labels{}, fmt.Errorf("level: %w", errdefs.ErrInvalidArgument)
	}
	f.Reserve(testLabel)
	return spec.Labels{Process: testLabel, Mount: testLabel}, nil
}

func (f fakeLabels) Reserve(string) { f.Add("labels", 1) }
func (f fakeLabels) Release(string) { f.Add("labels", -1) }

func podConfig(name string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "u1"},
	}
}

func sharedPID(name string) *runtimeapi.PodSandboxConfig {
	c := podConfig(name)
	c.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_POD},
	}}
	return c
}

// ownPID is a config with a PID namespace per container, which needs no init.
func ownPID(name string) *runtimeapi.PodSandboxConfig {
	c := sharedPID(name)
	c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_CONTAINER
	return c
}

var errBroken = errors.New("broken")
