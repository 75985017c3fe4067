// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	checkEvents(t, f, "CONTAINER_CREATED_EVENT ready", "CONTAINER_STARTED_EVENT ready")
	for range 2 {
		mustStop(t, m, f, id)
	}
	checkEvents(t, f, "CONTAINER_STOPPED_EVENT stopping")
	for range 2 {
		mustRemove(t, m, f, id)
	}
	checkEvents(t, f, "CONTAINER_DELETED_EVENT stopped")
}

// The pod of a failed Run was never visible, so it has no events.
func TestNoEventsOfAFailedRun(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	f.Fail("attach /ns/net", errBroken)
	if _, err := m.Run(t.Context(), ownPID("web"), ""); err == nil {
		t.Fatal("Run succeeded")
	}
	checkEvents(t, f)
}

// If the rollback of a Run is incomplete, the pod becomes visible as not ready, so that the kubelet
// can stop it.
func TestEventsOfIncompleteRollback(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	f.Fail("attach /ns/net", errBroken)
	f.Fail("detach", errBroken)
	if _, err := m.Run(t.Context(), ownPID("web"), ""); err == nil {
		t.Fatal("Run succeeded")
	}
	checkEvents(t, f, "CONTAINER_CREATED_EVENT stopping", "CONTAINER_STOPPED_EVENT stopping")
	f.Fail("detach", nil)
	mustRemove(t, m, f, m.List()[0].ID)
	checkEvents(t, f, "CONTAINER_DELETED_EVENT stopped")
}

// A pod whose init exits has one stopped event; Stop does not add another.
func TestEventsOfAnInitThatEnds(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, sharedPID("web"))
	f.exit <- runtime.ExitStatus{}
	m.watches.running.Wait()
	checkEvents(t, f, "CONTAINER_CREATED_EVENT ready", "CONTAINER_STARTED_EVENT ready", "CONTAINER_STOPPED_EVENT stopping")
	mustStop(t, m, f, id)
	checkEvents(t, f)
}
