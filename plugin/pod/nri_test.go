// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"errors"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/nri/nritest"
)

var errRefused = errors.New("refused")

// withPlugins returns a node with NRI plugins.
func withPlugins() (*fakeNode, *nritest.Recorder) {
	f := newFakeNode()
	plugins := &nritest.Recorder{Refuse: map[string]error{}}
	f.plugins = plugins
	return f, plugins
}

// Each event is sent once, in order, also if calls are repeated.
func TestPluginsFollowAPod(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	if unseen := plugins.Unseen(); len(unseen) > 0 {
		t.Errorf("unseen %q after Run", unseen)
	}
	if err := m.UpdateResources(t.Context(), id, nil, &runtimeapi.LinuxContainerResources{CpuShares: 2}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Stop(t.Context(), id, fakeMembers{f}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"RunPodSandbox web", "UpdatePodSandbox web", "PostUpdatePodSandbox web", "StopPodSandbox web", "RemovePodSandbox web",
	}
	if diff := cmp.Diff(want, plugins.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A stop that fails and is repeated is one event, and so is a removal.
func TestPluginsHearOfARepeatedStopOnce(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f)
	id := mustRun(t, m, podConfig("web"))
	for _, step := range []string{"detach", "delete record"} {
		f.Fail(step, errdefs.ErrUnavailable)
		if err := m.Remove(t.Context(), id, fakeMembers{f}); err == nil {
			t.Errorf("%s fails: Remove = nil", step)
		}
		f.Fail(step, nil)
	}
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
	want := []string{"RunPodSandbox web", "StopPodSandbox web", "RemovePodSandbox web"}
	if diff := cmp.Diff(want, plugins.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A pod that a plugin refuses leaves nothing. Its rollback sends no more events: RunPodSandbox of
// package nri has sent them.
func TestPluginsRefuseAPod(t *testing.T) {
	f, plugins := withPlugins()
	plugins.Refuse["RunPodSandbox"] = errRefused
	m := newManager(t, f)
	if _, err := m.Run(t.Context(), podConfig("web"), ""); !errors.Is(err, errRefused) {
		t.Errorf("Run = %v, want the plugin's error", err)
	}
	if left := f.Left(); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if diff := cmp.Diff([]string{"RunPodSandbox web"}, plugins.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A pod that did not get ready after the plugins agreed is stopped and removed for them, once.
func TestPluginsHearOfAFailedRun(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f)
	f.Fail("save ready", errdefs.ErrUnavailable)
	f.Fail("delete record", errdefs.ErrUnavailable)
	if _, err := m.Run(t.Context(), podConfig("web"), ""); err == nil {
		t.Fatal("Run succeeded")
	}
	f.Fail("delete record", nil)
	for _, r := range m.List() { // the rollback was incomplete
		if err := m.Remove(t.Context(), r.ID, fakeMembers{f}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"RunPodSandbox web", "StopPodSandbox web", "RemovePodSandbox web"}
	if diff := cmp.Diff(want, plugins.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// New resources that a plugin refuses are not recorded.
func TestPluginsRefuseNewResources(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f)
	id := mustRun(t, m, podConfig("web"))
	plugins.Refuse["UpdatePodSandbox"] = errRefused
	err := m.UpdateResources(t.Context(), id, nil, &runtimeapi.LinuxContainerResources{CpuShares: 2})
	if !errors.Is(err, errRefused) {
		t.Errorf("UpdateResources = %v, want the plugin's error", err)
	}
	if r, _ := m.Get(id); r.Config.GetLinux().GetResources() != nil {
		t.Errorf("resources %v recorded", r.Config.GetLinux().GetResources())
	}
}

// Plugins find what they need to enter the namespaces of a pod.
func TestSandboxOfPlugins(t *testing.T) {
	f, _ := withPlugins()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	r, err := m.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	got := m.Sandbox(t.Context(), r)
	if got.GetPid() != r.PID || got.GetLinux().GetCgroupsPath() != "/kubepods/"+id {
		t.Errorf("pid %d, cgroup %s", got.GetPid(), got.GetLinux().GetCgroupsPath())
	}
	paths := map[string]string{}
	for _, ns := range got.GetLinux().GetNamespaces() {
		paths[ns.GetType()] = ns.GetPath()
	}
	if diff := cmp.Diff(map[string]string{"network": "/ns/net", "ipc": "/ns/ipc", "uts": "/ns/uts"}, paths); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if got.GetAnnotations()["io.kubernetes.cri.container-type"] != "sandbox" {
		t.Errorf("annotations %v", got.GetAnnotations())
	}
}
