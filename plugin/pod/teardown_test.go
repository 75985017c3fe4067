// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A shim that does not answer, as after SIGSTOP, is killed when its pod is removed. The removal
// takes at most ten seconds.
func TestStuckShimIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		id := mustRun(t, m, ownPID("web"))
		f.setStuck(true)
		f.Forget()
		start := time.Now()
		mustRemove(t, m, f, id)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the removal took %s", took)
		}
		if !strings.Contains(f.Trace(), "kill shim") {
			t.Errorf("the shim was not killed:\n%s", f.Trace())
		}
		checkLeft(t, f)
		m.Close()
	})
}

// A stuck shim of a pod without containers is killed, too.
func TestStuckShimOfEmptyPodIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		id := mustRun(t, m, ownPID("web"))
		f.setStuck(true)
		if err := m.releaser.stopTask(t.Context(), m.List()[0]); err != nil {
			t.Errorf("stopTask: %v", err)
		}
		f.Lose("task")
		mustRemove(t, m, f, id)
		m.Close()
	})
}

// A shim that may serve other pods is not killed: the pod stays, and the resources that do not need
// the shim are released.
func TestStuckSharedShimIsNotKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		id, err := m.Run(t.Context(), ownPID("web"), "shared")
		if err != nil {
			t.Fatal(err)
		}
		f.setStuck(true)
		f.Forget()
		if err := m.Stop(t.Context(), id, fakeMembers{f}); err == nil {
			t.Error("the stop of a pod whose shim is stuck succeeded")
		}
		if strings.Contains(f.Trace(), "kill shim") || f.Has("address") || f.Has("namespaces") || !f.Has("files") {
			t.Errorf("left: %v\n%s", f.Left(), f.Trace())
		}
		f.setStuck(false)
		mustRemove(t, m, f, id)
		checkLeft(t, f)
		m.Close()
	})
}

// Every teardown removes the files of a pod last: strays are found by their files.
func TestFilesAreRemovedLast(t *testing.T) {
	for _, step := range []string{"detach", "unpin", "stop task"} {
		for name, prepare := range map[string]func(*Manager, *fakeNode){
			"failed run": func(m *Manager, f *fakeNode) { f.Fail("save ready", errBroken) },
			"stop":       func(*Manager, *fakeNode) {},
		} {
			f := newFakeNode()
			m := newManager(t, f)
			f.Fail(step, errBroken)
			prepare(m, f)
			if id, err := m.Run(t.Context(), sharedPID("web"), ""); err == nil {
				if err := m.Stop(t.Context(), id, fakeMembers{f}); !errors.Is(err, errBroken) {
					t.Errorf("Stop = %v", err)
				}
			}
			if !f.Has("files") {
				t.Errorf("%s: %s failed and the files were removed:\n%s", name, step, f.Trace())
			}
		}
	}
}

// After a failed ADD, DEL runs once.
func TestFailedAttachIsDetachedOnce(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	f.Fail("attach /ns/net", errBroken)
	if _, err := m.Run(t.Context(), sharedPID("web"), ""); !errors.Is(err, errBroken) {
		t.Fatalf("Run = %v", err)
	}
	want := "create record\npin ipc net uts\nmake files\nattach /ns/net\ndetach\nunpin\nremove files\ndelete record"
	got := strings.Replace(f.Trace(), "stop task\n", "", 1) // in parallel with detach
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// A pod can be stopped while its record cannot be saved.
func TestStopWhileNothingCanBeSaved(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	unsavable := []string{"save stopping", "save stopped", "delete record"}
	for _, step := range unsavable {
		f.Fail(step, errBroken)
	}
	if err := m.Stop(t.Context(), id, fakeMembers{f}); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if r, err := m.Get(id); err != nil || r.State != Stopped {
		t.Errorf("pod = %+v, %v, want Stopped", r, err)
	}
	if err := m.Remove(t.Context(), id, fakeMembers{f}); !errors.Is(err, errBroken) {
		t.Errorf("Remove = %v, want the cause", err)
	}
	for _, step := range unsavable {
		f.Fail(step, nil)
	}
	if err := m.pods.Flush(t.Context(), id); err != nil {
		t.Errorf("the state is still not saved: %v", err)
	}
	mustRemove(t, m, f, id)
	checkLeft(t, f)
}
