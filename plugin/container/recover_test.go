// SPDX-License-Identifier: Apache-2.0

package container

import (
	"os"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// stuckShim returns a manager that has recovered a running container whose shim does not
// answer, and a function that makes the shim answer.
func stuckShim(t *testing.T, f *machine) (m *Manager, r *Record, answer func()) {
	t.Helper()
	dir := t.TempDir()
	m = newManager(t, f, dir)
	id := mustStart(t, m, "app")
	m.Close()
	task := f.task(id)
	task.say(errdefs.ErrUnavailable)
	f.events = nil
	m = newManager(t, f, dir)
	m.patience = time.Millisecond
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, record(t, m, id), func() { task.say(nil) }
}

// A shim that does not answer when the daemon starts is asked again: the exit is seen,
// and told once.
func TestRecoveryAsksUntilTheShimAnswers(t *testing.T) {
	f := newMachine()
	m, r, answer := stuckShim(t, f)
	if !r.running() {
		t.Errorf("it is %s before anybody knows", stateName(r))
	}
	if err := m.Stop(t.Context(), r.ID, 0); !errdefs.IsUnavailable(err) {
		t.Errorf("Stop of a container whose shim does not answer: %v, want Unavailable", err)
	}
	f.task(r.ID).end(7)
	answer()
	<-r.life.reaped
	if diff := cmp.Diff(Exit{Code: 7, Reason: ReasonError}, record(t, m, r.ID).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	checkEvents(t, f, "CONTAINER_CREATED_EVENT running", "CONTAINER_STOPPED_EVENT exited")
	if err := m.Remove(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
}

// Such a shim dies: containerd has announced the exit, and only containerd.
func TestRecoveryHearsOfAnExitThatOnlyContainerdKnows(t *testing.T) {
	f := newMachine()
	m, r, _ := stuckShim(t, f)
	m.Announce(runtime.Exit{ID: r.ID, Code: 137, At: time.Unix(200, 0)})
	if err := f.DeleteTask(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	<-r.life.reaped
	if diff := cmp.Diff(Exit{Code: 137, Reason: ReasonError}, record(t, m, r.ID).Exit); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	checkEvents(t, f, "CONTAINER_CREATED_EVENT running", "CONTAINER_STOPPED_EVENT exited")
}

// A container that was removed meanwhile is asked for no more.
func TestRecoveryStopsAskingForARemovedContainer(t *testing.T) {
	f := newMachine()
	m, r, _ := stuckShim(t, f)
	m.containers.Forget(r.ID)
	m.wait.Wait()
}

// A reboot takes the tasks and all that is below the state directory, the pipes among it. The
// containers are known all the same, and go without a trace.
func TestRecoverAfterAReboot(t *testing.T) {
	f, dir := newMachine(), t.TempDir()
	before := newManager(t, f, dir)
	created, running := mustCreate(t, before, "created"), mustStart(t, before, "running")
	before.Close()
	if err := f.DeleteTask(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(before.Dirs.State); err != nil {
		t.Fatal(err)
	}
	after := newManager(t, f, dir)
	if err := after.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stateName(record(t, after, created)); got != "created" {
		t.Errorf("the container that was not started is %s", got)
	}
	r := record(t, after, running)
	if diff := cmp.Diff(Exit{Code: unknownExitCode, Reason: ReasonUnknown}, r.Exit, cmpopts.IgnoreFields(Exit{}, "Message")); diff != "" {
		t.Errorf("the one that ran: exit (-want +got):\n%s", diff)
	}
	for _, id := range []string{created, running} {
		if err := after.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	checkLeft(t, f, after)
}

// The output of a container that cannot be read would be lost: it is not started.
func TestNoStartWithoutStreams(t *testing.T) {
	f, dir := newMachine(), t.TempDir()
	before := newManager(t, f, dir)
	id := mustCreate(t, before, "app")
	before.Close()
	if err := os.RemoveAll(before.Dirs.State); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before.Dirs.State, nil, 0o600); err != nil { // no pipe can be made
		t.Fatal(err)
	}
	after := newManager(t, f, dir)
	if err := after.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := after.Start(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Start = %v, want FailedPrecondition", err)
	}
	if got := record(t, after, id).Exit.Reason; got != ReasonStartError {
		t.Errorf("reason %s", got)
	}
}
