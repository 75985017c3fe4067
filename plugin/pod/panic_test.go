// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Each step of Run panics in turn: all resources are released, and the name can be used again. Some
// steps of a pod without an init run in parallel.
func TestPanicInRun(t *testing.T) {
	for _, step := range []string{"create record", "make files", "pin ipc net uts", "attach /ns/net", "start task", "save ready"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			f.Fail(step, fault.ErrPanic)
			if _, err := m.Run(t.Context(), ownPID("web"), ""); !errdefs.IsInternal(err) {
				t.Fatalf("Run = %v, want Internal", err)
			}
			if step == "create record" {
				f.Lose("record") // Makes created it before the panic
			}
			checkLeft(t, f)
			f.Fail(step, nil)
			if _, err := m.Run(t.Context(), ownPID("web"), ""); err != nil {
				t.Errorf("the next Run: %v", err)
			}
		})
	}
}

// A teardown step that panics counts as failed: the other steps run, and the next call repeats it.
func TestPanicInTeardown(t *testing.T) {
	for _, step := range []string{"stop containers", "stop task", "detach", "unpin", "remove files"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f)
			id := mustRun(t, m, sharedPID("web"))
			f.Fail(step, fault.ErrPanic)
			if err := m.Stop(t.Context(), id, fakeMembers{f}); !errdefs.IsInternal(err) {
				t.Errorf("Stop = %v, want Internal", err)
			}
			if f.Has("address") != (step == "detach") || f.Has("task") != (step == "stop task") {
				t.Errorf("left: %v", f.Left())
			}
			f.Fail(step, nil)
			mustRemove(t, m, f, id)
			checkLeft(t, f)
		})
	}
}

// If the rollback of a Run panics, the pod is kept for Stop and Remove.
func TestPanicInRollback(t *testing.T) {
	for _, step := range []string{"detach", "delete record"} {
		f := newFakeNode()
		m := newManager(t, f)
		f.Fail("save ready", errBroken)
		f.Fail(step, fault.ErrPanic)
		if _, err := m.Run(t.Context(), sharedPID("web"), ""); err == nil {
			t.Fatal("Run succeeded")
		}
		list := m.List()
		if len(list) != 1 || list[0].State != Stopping {
			t.Fatalf("%s: pods = %+v, want the one whose rollback is incomplete", step, list)
		}
		f.Fail(step, nil)
		mustRemove(t, m, f, list[0].ID)
		checkLeft(t, f)
	}
}

// A removal that panics returns an error, and can be repeated.
func TestPanicInRemove(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, sharedPID("web"))
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

// A watch that panics starts again and sees the end of the pod's task.
func TestPanicInWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		f.Fail("wait", fault.ErrPanic)
		before := guard.Count()
		id := mustRun(t, m, sharedPID("web"))
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

// If the restart of a holder panics, it is repeated.
func TestPanicInRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f)
		id := mustRun(t, m, ownPID("web"))
		synctest.Wait()
		f.Fail("start task", fault.ErrPanic)
		before := guard.Count()
		f.loseTask()
		synctest.Wait()
		if guard.Count() == before {
			t.Fatal("the restart has not panicked")
		}
		f.Lose("task") // Makes created it before the panic
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

// badLabels panics at the first Reserve.
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

// A pod whose recovery panics prevents neither the recovery of others nor the start of the daemon.
func TestPanicInRecovery(t *testing.T) {
	f := newFakeNode()
	before := newManager(t, f)
	id := mustRun(t, before, sharedPID("web"))
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

// If the teardown of an interrupted Run panics, a Run of the same pod does not wait for it
// indefinitely.
func TestPanicInTearDownStrays(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	stray := &Record{ID: "pod9", Name: name(podConfig("web").GetMetadata()), Config: podConfig("web"), State: Creating}
	m.rollbacks.add(stray.Name)
	f.published = func(*Record) { panic("event") }
	f.Fail("detach", fault.ErrPanic)
	m.TearDownStrays(t.Context(), []*Record{stray, {ID: "pod8"}})
	f.published = nil
	f.Fail("detach", nil)
	if _, err := m.Run(t.Context(), podConfig("web"), ""); err != nil {
		t.Error(err)
	}
}
