// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Each step of Run panics in turn: nothing is left, and the name is free again. The steps of a pod
// without an init run side by side.
func TestPanicInRun(t *testing.T) {
	for _, step := range []string{"create record", "make files", "pin ipc net uts", "attach /ns/net", "start task", "save ready"} {
		t.Run(step, func(t *testing.T) {
			f := newMachine()
			m := newManager(t, f)
			f.Fail(step, fault.ErrPanic)
			if _, err := m.Run(t.Context(), ownPID("web"), ""); !errdefs.IsInternal(err) {
				t.Fatalf("Run = %v, want Internal", err)
			}
			if step == "create record" {
				f.Lose("record") // the fake has none yet
			}
			if left := f.Left(); len(left) != 0 {
				t.Errorf("left: %v\n%s", left, f.Trace())
			}
			f.Fail(step, nil)
			if _, err := m.Run(t.Context(), ownPID("web"), ""); err != nil {
				t.Errorf("the next Run: %v", err)
			}
		})
	}
}

// A teardown step that panics is one that failed: the others are done, and the next Stop does it.
func TestPanicInTeardown(t *testing.T) {
	for _, step := range []string{"stop containers", "stop task", "detach", "unpin", "remove files"} {
		t.Run(step, func(t *testing.T) {
			f := newMachine()
			m := newManager(t, f)
			id, err := m.Run(t.Context(), sharedPID("web"), "")
			if err != nil {
				t.Fatal(err)
			}
			f.Fail(step, fault.ErrPanic)
			if err := m.Stop(t.Context(), id, fakeMembers{f}); !errdefs.IsInternal(err) {
				t.Errorf("Stop = %v, want Internal", err)
			}
			if f.Has("address") != (step == "detach") || f.Has("task") != (step == "stop task") {
				t.Errorf("left: %v", f.Left())
			}
			f.Fail(step, nil)
			if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
				t.Fatal(err)
			}
			if left := f.Left(); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// The rollback of a Run panics: the pod is kept for Stop and Remove.
func TestPanicInARollback(t *testing.T) {
	for _, step := range []string{"detach", "delete record"} {
		f := newMachine()
		m := newManager(t, f)
		f.Fail("save ready", errBroken)
		f.Fail(step, fault.ErrPanic)
		if _, err := m.Run(t.Context(), sharedPID("web"), ""); err == nil {
			t.Fatal("Run succeeded")
		}
		list := m.List()
		if len(list) != 1 || list[0].State != Stopping {
			t.Fatalf("%s: pods = %+v, want the unfinished one", step, list)
		}
		f.Fail(step, nil)
		if err := m.Remove(t.Context(), list[0].ID, fakeMembers{f}); err != nil {
			t.Fatal(err)
		}
		if left := f.Left(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// All who wait for a removal that panics get its error.
func TestPanicInRemove(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), sharedPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("remove containers", fault.ErrPanic)
	for range 2 {
		if err := m.Remove(t.Context(), id, fakeMembers{f}); !errdefs.IsInternal(err) {
			t.Errorf("Remove = %v, want Internal", err)
		}
	}
	f.Fail("remove containers", nil)
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Error(err)
	}
}

// A watch that panics begins again: the end of the pod's task is seen.
func TestPanicInAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMachine()
		m := newManager(t, f)
		f.Fail("wait", fault.ErrPanic)
		before := guard.Count()
		id, err := m.Run(t.Context(), sharedPID("web"), "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if guard.Count() == before {
			t.Fatal("the watch has not panicked")
		}
		f.Fail("wait", nil)
		if err := m.AwaitTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		f.loseTask()
		synctest.Wait()
		if r, err := m.Get(id); err != nil || r.State != Stopping {
			t.Errorf("after the end of its init the pod is %+v, %v", r, err)
		}
		m.Close()
	})
}

// A holder whose restart panics is restarted again.
func TestPanicInARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMachine()
		m := newManager(t, f)
		id, err := m.Run(t.Context(), ownPID("web"), "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.Fail("start task", fault.ErrPanic)
		before := guard.Count()
		f.loseTask()
		synctest.Wait()
		if guard.Count() == before {
			t.Fatal("the restart has not panicked")
		}
		f.Lose("task") // the fake has one before it panics
		f.Fail("start task", nil)
		if err := m.AwaitTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if r, err := m.Get(id); err != nil || r.State != Ready || !f.Has("task") {
			t.Errorf("the pod is %+v, %v; left: %v", r, err, f.Left())
		}
		m.Close()
	})
}

// badLabels panics when the labels of a pod are reserved in recovery.
type badLabels struct {
	fakeLabels
	once *bool
}

func (b badLabels) Reserve(label string) {
	if !*b.once {
		*b.once = true
		panic("reserve")
	}
	b.fakeLabels.Reserve(label)
}

// A pod whose recovery panics keeps no other from it, nor the daemon from its start.
func TestPanicInRecovery(t *testing.T) {
	f := newMachine()
	before := newManager(t, f)
	id, err := before.Run(t.Context(), sharedPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	before.Close()
	after := newManager(t, f)
	after.Labels = badLabels{fakeLabels{f}, new(bool)}
	if err := after.Recover(t.Context()); err != nil {
		t.Errorf("Recover = %v", err)
	}
	if err := after.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Error(err)
	}
}

// The rollback of a Run that a crash ended panics: a Run of the same pod does not wait for it for
// ever.
func TestPanicWhileStraysAreReleased(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	stray := &Record{ID: "pod9", Name: name(podConfig("web").GetMetadata()), Config: podConfig("web"), State: Creating}
	m.undoing.add(stray.Name)
	f.published = func(*Record) { panic("event") }
	f.Fail("detach", fault.ErrPanic)
	m.ReleaseStrays(t.Context(), []*Record{stray, {ID: "pod8"}})
	f.published = nil
	f.Fail("detach", nil)
	if _, err := m.Run(t.Context(), podConfig("web"), ""); err != nil {
		t.Error(err)
	}
}
