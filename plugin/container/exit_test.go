// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// unsavable makes containerd's metadata refuse the records of containers in these states.
func (f *machine) unsavable(err error) {
	for _, state := range []string{"running", "exited"} {
		f.Fail("save "+state, err)
	}
}

// While containerd's metadata cannot be written a container starts, ends and is stopped as ever.
// Its exit is saved, and its task deleted, when it can be written again.
func TestExitWhileNothingCanBeSaved(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	f.unsavable(errBroken)
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r := record(t, m, id)
	if !r.running() {
		t.Errorf("the container is %s", stateName(r))
	}
	f.task(id).end(7)
	<-r.life.ended
	if diff := cmp.Diff(Exit{Code: 7, Reason: ReasonError}, record(t, m, id).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	if err := m.Stop(t.Context(), id, time.Hour); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := m.Remove(t.Context(), id); !errors.Is(err, errBroken) {
		t.Errorf("Remove = %v, want the cause", err)
	}
	if f.task(id) == nil {
		t.Error("the task is deleted, and with it the exit code that a restarted daemon would need")
	}
	f.unsavable(nil)
	<-r.life.reaped
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
}

// A daemon that ends before the exit could be saved leaves it with the shim, where the next finds
// it.
func TestUnsavedExitOutlivesTheDaemon(t *testing.T) {
	f, dir := newMachine(), t.TempDir()
	before := newManager(t, f, dir)
	id := mustCreate(t, before, "app")
	f.unsavable(errBroken)
	if err := before.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r := record(t, before, id)
	f.task(id).end(7)
	<-r.life.ended
	before.Close()
	f.unsavable(nil)
	after := newManager(t, f, dir)
	if err := after.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = record(t, after, id)
	<-r.life.reaped
	if diff := cmp.Diff(Exit{Code: 7, Reason: ReasonError}, record(t, after, id).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	if err := after.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, after)
}

// A start that fails while nothing can be saved ends the container once, however often it is
// started.
func TestFailedStartsWhileNothingCanBeSaved(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	id := mustCreate(t, m, "app")
	f.unsavable(errBroken)
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
	f.unsavable(nil)
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	checkLeft(t, f, m)
}

// Two goroutines may find the same exit, such as a watch and a recovery that was slow.
func TestExitIsRecordedOnce(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	r, task := record(t, m, id), f.task(id)
	f.Forget()
	task.end(7)
	m.exited(m.life, id, task, exit{code: 8, at: time.Unix(200, 0)})
	<-r.life.reaped
	if diff := cmp.Diff("save exited\ndelete task", f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
