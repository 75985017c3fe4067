// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStopSignalsThenKills(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	if err := m.Stop(t.Context(), id, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	<-record(t, m, id).life.reaped
	if diff := cmp.Diff("kill 15\nkill 9\nsave exited\ndelete task", f.Trace()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if code := record(t, m, id).Exit.Code; code != 137 {
		t.Errorf("exit code %d", code)
	}
}

// Of two Stops, the one with the shorter grace wins, and both return at the exit.
func TestShorterGracePeriodWins(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	patient := make(chan error)
	go func() { patient <- m.Stop(context.Background(), id, time.Hour) }()
	if err := m.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-patient; err != nil {
		t.Error(err)
	}
}

// SIGKILL is sent even if the shim blocks on the stop signal.
func TestSIGKILLDoesNotWaitForTheStopSignal(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	unblock := f.Block("kill 15")
	stopped := make(chan error)
	go func() { stopped <- m.Stop(context.Background(), id, time.Millisecond) }()
	<-record(t, m, id).life.ended
	unblock()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A container that cannot be killed does not delay the others of its pod.
func TestContainersOfAPodStopInParallel(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	stuck := mustStart(t, m, "stuck")
	var others []string
	for _, name := range []string{"a", "b"} {
		others = append(others, mustStart(t, m, name))
	}
	unblock := f.Task(stuck).BlockSignals()
	stopped := make(chan error)
	go func() { stopped <- m.StopAll(context.Background(), "pod1") }()
	for _, id := range others {
		<-record(t, m, id).life.reaped
	}
	if !record(t, m, stuck).running() {
		t.Error("the container whose signals are blocked has exited")
	}
	unblock()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// SIGKILL is sent even if the caller of Stop gave up.
func TestStopGoesOnWithoutItsCaller(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Stop(ctx, id, time.Millisecond); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v", err)
	}
	<-record(t, m, id).life.ended
}

// The stop signal is sent once: programs take a second one as an order to exit at once.
func TestStopSignalIsSentOnce(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	f.Fail("kill 15", errBroken)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	// The delivery of the first signal fails.
	for _, want := range []string{"kill 15", "kill 15\nkill 15", "kill 15\nkill 15"} {
		if err := m.Stop(impatient, id, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("Stop = %v", err)
		}
		if diff := cmp.Diff(want, f.Trace()); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		f.Fail("kill 15", nil)
	}
	if err := m.Stop(t.Context(), id, 0); err != nil {
		t.Error(err)
	}
}
