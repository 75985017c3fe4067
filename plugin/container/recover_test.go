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

// stuckShim returns a manager that has recovered a running container whose shim does not answer,
// and a function that makes the shim answer.
func stuckShim(t *testing.T, f *fakeNode) (m *Manager, r *Record, answer func()) {
	t.Helper()
	dir := t.TempDir()
	m = newManager(t, f, dir)
	id := mustStart(t, m, "app")
	m.Close()
	task := f.Task(id)
	task.SetError(errdefs.ErrUnavailable)
	f.events = nil
	m = newManager(t, f, dir)
	m.watcher.exitEventTimeout = time.Millisecond
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, record(t, m, id), func() { task.SetError(nil) }
}

// A shim that does not answer when the daemon starts is asked again. Its exit is recorded and
// published once.
func TestRecoveryAsksUntilTheShimAnswers(t *testing.T) {
	f := newFakeNode()
	m, r, answer := stuckShim(t, f)
	if !r.running() {
		t.Errorf("state %s before the shim has answered, want running", stateName(r))
	}
	if err := m.Stop(t.Context(), r.ID, 0); !errdefs.IsUnavailable(err) {
		t.Errorf("Stop of a container whose shim does not answer: %v, want Unavailable", err)
	}
	f.Task(r.ID).Exit(7)
	answer()
	<-r.life.reaped
	checkExit(t, record(t, m, r.ID), Exit{Code: 7, Reason: ReasonError})
	checkEvents(t, f, "CONTAINER_CREATED_EVENT running", "CONTAINER_STOPPED_EVENT exited")
	if err := m.Remove(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
}

// If a shim that does not answer dies, the exit event of containerd is the only source of the exit.
func TestRecoveryUsesTheExitEvent(t *testing.T) {
	f := newFakeNode()
	m, r, _ := stuckShim(t, f)
	m.OnExit(runtime.Exit{ID: r.ID, Code: 137, At: time.Unix(200, 0)})
	if err := f.DeleteTask(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	<-r.life.reaped
	checkExit(t, record(t, m, r.ID), Exit{Code: 137, Reason: ReasonError})
	checkEvents(t, f, "CONTAINER_CREATED_EVENT running", "CONTAINER_STOPPED_EVENT exited")
}

// The shim of a container that was removed in the meantime is not asked again.
func TestRecoveryStopsAskingForARemovedContainer(t *testing.T) {
	f := newFakeNode()
	m, r, _ := stuckShim(t, f)
	m.containers.Forget(r.ID)
	m.background.running.Wait()
}

// A reboot removes the tasks and the state directory with the pipes. The containers are still known
// and can be removed completely.
func TestRecoverAfterAReboot(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	before := newManager(t, f, dir)
	created, running := mustCreate(t, before, "created"), mustStart(t, before, "running")
	before.Close()
	if err := f.DeleteTask(t.Context(), running); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(before.Dirs.State); err != nil {
		t.Fatal(err)
	}
	after := recoveredManager(t, f, dir)
	if got := stateName(record(t, after, created)); got != "created" {
		t.Errorf("the container that was not started is %s", got)
	}
	r := record(t, after, running)
	if diff := cmp.Diff(Exit{Code: unknownExitCode, Reason: ReasonUnknown}, r.Exit, cmpopts.IgnoreFields(Exit{}, "Message")); diff != "" {
		t.Errorf("exit of the container that was running (-want +got):\n%s", diff)
	}
	for _, id := range []string{created, running} {
		if err := after.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	checkLeft(t, f, after)
}

// A container whose output cannot be read is not started: its output would be lost.
func TestNoStartWithoutStreams(t *testing.T) {
	f, dir := newFakeNode(), t.TempDir()
	before := newManager(t, f, dir)
	id := mustCreate(t, before, "app")
	before.Close()
	if err := os.RemoveAll(before.Dirs.State); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before.Dirs.State, nil, 0o600); err != nil { // no pipe can be made
		t.Fatal(err)
	}
	after := recoveredManager(t, f, dir)
	if err := after.Start(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Start = %v, want FailedPrecondition", err)
	}
	if got := record(t, after, id).Exit.Reason; got != ReasonStartError {
		t.Errorf("reason %s", got)
	}
}
