// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/nri/nritest"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// withPlugins returns a node with NRI plugins.
func withPlugins() (*fakeNode, *nritest.Recorder) {
	f := newFakeNode()
	plugins := &nritest.Recorder{Refuse: map[string]error{}}
	f.plugins = plugins
	return f, plugins
}

func checkCalls(t *testing.T, plugins *nritest.Recorder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, plugins.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if unseen := plugins.Unseen(); len(unseen) > 0 {
		t.Errorf("unseen %q", unseen)
	}
}

// Each event is sent once, in order, also if calls are repeated.
func TestPluginsFollowAContainer(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 2}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Stop(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := m.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	checkCalls(t, plugins,
		"CreateContainer app CONTAINER_UNKNOWN", "PostCreateContainer app CONTAINER_CREATED",
		"StartContainer app CONTAINER_CREATED", "PostStartContainer app CONTAINER_RUNNING",
		"UpdateContainer app CONTAINER_RUNNING", "PostUpdateContainer app CONTAINER_RUNNING",
		"StopContainer app CONTAINER_STOPPED", "RemoveContainer app CONTAINER_STOPPED")
}

// An exit without a stop is an event like a stop.
func TestPluginsHearOfAnExit(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	plugins.Events()
	r := record(t, m, id)
	f.Task(id).Exit(3)
	<-r.life.reaped
	checkCalls(t, plugins, "StopContainer app CONTAINER_STOPPED")
	if len(m.PluginView().Subjects(t.Context())) != 0 {
		t.Error("Synchronize has the container")
	}
}

// Plugins that refuse a step get the removal of the container, and nothing is left.
func TestPluginsRefuse(t *testing.T) {
	for event, events := range map[string][]string{
		"CreateContainer": {
			"CreateContainer app CONTAINER_UNKNOWN", "StopContainer app CONTAINER_UNKNOWN", "RemoveContainer app CONTAINER_UNKNOWN",
		},
		"StartContainer": {
			"CreateContainer app CONTAINER_UNKNOWN", "PostCreateContainer app CONTAINER_CREATED",
			"StartContainer app CONTAINER_CREATED", "StopContainer app CONTAINER_STOPPED", "RemoveContainer app CONTAINER_STOPPED",
		},
	} {
		t.Run(event, func(t *testing.T) {
			f, plugins := withPlugins()
			plugins.Refuse[event] = errBroken
			m := newManager(t, f, t.TempDir())
			id, err := m.Create(t.Context(), "pod1", containerConfig("app"))
			if err == nil {
				err = m.Start(t.Context(), id)
			}
			if !errors.Is(err, errBroken) {
				t.Errorf("error %v, want the plugin's", err)
			}
			if id != "" {
				if err := m.Remove(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if left := f.Left(); len(left) > 0 {
				t.Errorf("left %q", left)
			}
			checkCalls(t, plugins, events...)
		})
	}
}

// A create that fails after the plugins agreed is undone for them, too.
func TestPluginsHearOfAFailedCreate(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	f.Fail("create container", errBroken)
	if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); !errors.Is(err, errBroken) {
		t.Fatalf("Create = %v", err)
	}
	checkCalls(t, plugins,
		"CreateContainer app CONTAINER_UNKNOWN", "StopContainer app CONTAINER_UNKNOWN", "RemoveContainer app CONTAINER_UNKNOWN")
}

// A removal that fails and is repeated is one event.
func TestPluginsHearOfARepeatedRemovalOnce(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	plugins.Events()
	f.Fail("delete container", errdefs.ErrUnavailable)
	if err := m.Remove(t.Context(), id); err == nil {
		t.Error("Remove = nil")
	}
	f.Fail("delete container", nil)
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkCalls(t, plugins, "StopContainer app CONTAINER_CREATED", "RemoveContainer app CONTAINER_CREATED")
}

// The container is created with the changes of the plugins.
func TestPluginsAdjustAContainer(t *testing.T) {
	f, plugins := withPlugins()
	plugins.Adjust = &api.ContainerAdjustment{Args: []string{"/bin/other"}, Linux: &api.LinuxContainerAdjustment{CgroupsPath: "/new"}}
	f.gone = true // the cgroup does not exist
	m := newManager(t, f, t.TempDir())
	mustCreate(t, m, "app")
	if diff := cmp.Diff([]string{"/bin/other"}, f.Created.Spec.Process.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
}

// The limits that plugins return for an update are those of the container.
func TestPluginsChangeAnUpdate(t *testing.T) {
	f, plugins := withPlugins()
	plugins.Resources = &api.LinuxResources{Cpu: &api.LinuxCPU{Cpus: "1"}}
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 2}); err != nil {
		t.Fatal(err)
	}
	if got := record(t, m, id).Resources.GetCpusetCpus(); got != "1" {
		t.Errorf("cpuset %q in the status, want 1", got)
	}
	plugins.Refuse["UpdateContainer"] = errBroken
	err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 3})
	if !errors.Is(err, errBroken) {
		t.Errorf("refused update: %v", err)
	}
}

// A plugin changes the limits of a container on its own initiative, which is no event.
func TestUpdateForPlugin(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	plugins.Events()
	if err := m.PluginView().Update(t.Context(), id, &api.LinuxResources{Cpu: &api.LinuxCPU{Cpus: "0-1"}}); err != nil {
		t.Fatal(err)
	}
	if got := record(t, m, id).Resources.GetCpusetCpus(); got != "0-1" {
		t.Errorf("cpuset %q in the status, want 0-1", got)
	}
	checkCalls(t, plugins)
	if err := m.PluginView().Update(t.Context(), "none", nil); !errdefs.IsNotFound(err) {
		t.Errorf("unknown container: %v", err)
	}
}

// A plugin cannot give a container a cgroup that exists: its shim would kill what is in it.
func TestPluginsGiveAnOwnCgroup(t *testing.T) {
	for path, exists := range map[string]bool{"/system.slice/kubelet.service": true, "/kubepods/../x": false} {
		f, plugins := withPlugins()
		f.gone = !exists
		plugins.Adjust = &api.ContainerAdjustment{Linux: &api.LinuxContainerAdjustment{CgroupsPath: path}}
		m := newManager(t, f, t.TempDir())
		if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Create = %v, want an error with the path", path, err)
		}
		if left := f.Left(); len(left) > 0 {
			t.Errorf("%s: left %q", path, left)
		}
	}
}

// A container that was never started is stopped, for plugins, with its pod.
func TestPluginsHearOfAContainerThatIsNotStarted(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	mustCreate(t, m, "app")
	plugins.Events()
	f.setPod(pod.Stopping)
	if err := m.StopAll(t.Context(), "pod1"); err != nil {
		t.Fatal(err)
	}
	checkCalls(t, plugins, "StopContainer app CONTAINER_CREATED")
}

// Plugins do not get an update that is refused anyway.
func TestPluginsDoNotGetABadUpdate(t *testing.T) {
	f, plugins := withPlugins()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	plugins.Events()
	f.Fail("merge resources", errBroken)
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 1}); !errors.Is(err, errBroken) {
		t.Errorf("UpdateResources = %v", err)
	}
	checkCalls(t, plugins)
}
