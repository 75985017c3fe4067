// SPDX-License-Identifier: Apache-2.0

package container

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

func checkEvents(t *testing.T, f *fakeNode, want ...string) {
	t.Helper()
	f.Lock()
	defer f.Unlock()
	if diff := cmp.Diff(want, f.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	f.events = nil
}

func TestEventsOfLife(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	checkEvents(t, f, "CONTAINER_CREATED_EVENT created", "CONTAINER_STARTED_EVENT running")
	if err := m.UpdateResources(t.Context(), id, &runtimeapi.LinuxContainerResources{CpuShares: 5}); err != nil {
		t.Fatal(err)
	}
	checkEvents(t, f) // the state has not changed
	for range 2 {
		if err := m.Stop(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	checkEvents(t, f, "CONTAINER_STOPPED_EVENT exited")
	for range 2 {
		if err := m.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	checkEvents(t, f, "CONTAINER_DELETED_EVENT exited")
}

func TestEventsOfAFailedStart(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	f.Fail("start task", errBroken)
	if err := m.Start(t.Context(), mustCreate(t, m, "app")); err == nil {
		t.Fatal("Start succeeded")
	}
	checkEvents(t, f, "CONTAINER_CREATED_EVENT created", "CONTAINER_STOPPED_EVENT exited")
}

// A failed Create publishes no event, as readers never saw the container.
func TestNoEventsOfAFailedCreate(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	f.Fail("make spec", errBroken)
	if _, err := m.Create(t.Context(), "pod1", containerConfig("app")); err == nil {
		t.Fatal("Create succeeded")
	}
	checkEvents(t, f) // readers never saw it
	f.Fail("make spec", nil)
	finish := f.Block("create container")
	created := make(chan error)
	go func() {
		_, err := m.Create(t.Context(), "pod1", containerConfig("app"))
		created <- err
	}()
	f.Await(t, "create container")
	f.setPod(pod.Stopping)
	finish()
	if err := <-created; err == nil {
		t.Fatal("Create succeeded in a pod that is being stopped")
	}
	checkEvents(t, f) // readers never saw it
}

// An exit while the daemon was down is published once.
func TestExitWhileTheDaemonWasDownIsPublishedOnce(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	m := newManager(t, f, dir)
	id := mustStart(t, m, "app")
	m.Close()
	f.Task(id).Exit(7)
	f.events = nil
	m = recoveredManager(t, f, dir)
	checkEvents(t, f, "CONTAINER_CREATED_EVENT running", "CONTAINER_STOPPED_EVENT exited")
	m.OnExit(runtime.Exit{ID: id, Code: 7}) // containerd may repeat an event
	if err := m.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	checkEvents(t, f)
}
