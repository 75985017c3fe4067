// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// failSaves makes containerd's metadata refuse the records of started containers, until err is nil.
func (f *fakeNode) failSaves(err error) {
	for _, state := range []string{"running", "exited"} {
		f.Fail("save "+state, err)
	}
}

// A container starts, exits and is stopped as usual while containerd's metadata cannot be written.
// When it can be written again, the exit is saved and the task is deleted.
func TestExitWhileNothingCanBeSaved(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	f.failSaves(errBroken)
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r := record(t, m, id)
	if !r.running() {
		t.Errorf("the container is %s", stateName(r))
	}
	f.Task(id).Exit(7)
	<-r.life.ended
	checkExit(t, record(t, m, id), Exit{Code: 7, Reason: ReasonError})
	if err := m.Stop(t.Context(), id, time.Hour); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := m.Remove(t.Context(), id); !errors.Is(err, errBroken) {
		t.Errorf("Remove = %v, want the cause", err)
	}
	if f.Task(id) == nil {
		t.Error("the task is deleted before its exit is saved: a restarted daemon could not find the exit code")
	}
	f.failSaves(nil)
	<-r.life.reaped
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
}

// If the daemon ends before the exit is saved, the shim keeps the exit and the next daemon finds
// it.
func TestUnsavedExitOutlivesTheDaemon(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	before := newManager(t, f, dir)
	id := mustCreate(t, before, "app")
	f.failSaves(errBroken)
	if err := before.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r := record(t, before, id)
	f.Task(id).Exit(7)
	<-r.life.ended
	before.Close()
	f.failSaves(nil)
	after := recoveredManager(t, f, dir)
	r = record(t, after, id)
	<-r.life.reaped
	checkExit(t, record(t, after, id), Exit{Code: 7, Reason: ReasonError})
	if err := after.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, after)
}

// A deletion of a task that is in progress when the daemon ends is completed: the next daemon would
// find a task that is neither there nor gone.
func TestCloseAwaitsTheDeletionOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNode()
		m := newManager(t, f, t.TempDir())
		id := mustCreate(t, m, "app")
		if err := m.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		r := record(t, m, id)
		finish := f.Block("delete task")
		f.Task(id).Exit(7)
		<-r.life.ended
		synctest.Wait()
		time.AfterFunc(reapGrace/2, finish)
		m.Close()
		if f.Task(id) != nil {
			t.Error("the deletion was cancelled")
		}
	})
}

// A start that fails while no record can be saved ends the container once; a second start is
// refused.
func TestFailedStartsWhileNothingCanBeSaved(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	f.failSaves(errBroken)
	f.Fail("start task", errBroken)
	if err := m.Start(t.Context(), id); !errors.Is(err, errBroken) {
		t.Errorf("first start: %v", err)
	}
	if err := m.Start(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("second start: %v", err)
	}
	if got := record(t, m, id).Exit.Reason; got != ReasonStartError {
		t.Errorf("reason %q", got)
	}
	f.failSaves(nil)
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
}

// Two goroutines may find the same exit, such as a watch and a slow recovery.
func TestExitIsRecordedOnce(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	r, task := record(t, m, id), f.Task(id)
	f.Forget()
	task.Exit(7)
	m.watcher.handleExit(m.background.ctx, id, task, taskExit{code: 8, at: time.Unix(200, 0)})
	<-r.life.reaped
	if diff := cmp.Diff("save exited\ndelete task", f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
