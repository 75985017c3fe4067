// SPDX-License-Identifier: Apache-2.0

package container

import (
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

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
	say := func(err error) {
		task.mu.Lock()
		defer task.mu.Unlock()
		task.lost = err
	}
	say(errdefs.ErrUnavailable)
	f.events = nil
	m = newManager(t, f, dir)
	m.patience = time.Millisecond
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, record(t, m, id), func() { say(nil) }
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
	<-r.live.reaped
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
	<-r.live.reaped
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
