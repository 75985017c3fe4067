// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// The task of a pod is watched before anybody can stop the pod: a watch that came later would
// restart the task of a pod that is stopped.
func TestTaskIsWatchedBeforeThePodIsShown(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	watched := false
	f.published = func(r *Record) { watched = m.watches.get(r.ID) != nil }
	if _, err := m.Run(t.Context(), ownPID("web"), ""); err != nil {
		t.Fatal(err)
	}
	if !watched {
		t.Error("the pod is shown without a watch of its task")
	}
}

// An init that ends before its pod is shown leaves a pod that is not ready.
func TestInitEndsBeforeThePodIsShown(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	shown := f.Block("save ready")
	ended := make(chan error)
	go func() {
		_, err := m.Run(context.Background(), sharedPID("web"), "")
		ended <- err
	}()
	f.Await(t, "save ready")
	f.loseTask()
	shown()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	m.wait.Wait()
	if r := m.List()[0]; r.State != Stopping {
		t.Errorf("the pod is %s", r.State)
	}
}

// A holder holds nothing: the pod goes on with another one.
func TestHolderIsRestarted(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), ownPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	f.Forget()
	again := f.Block("start task")
	f.loseTask()
	f.Await(t, "start task")

	// Who wants to join the shim meanwhile waits for it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.AwaitTask(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("AwaitTask while there is no task: %v", err)
	}
	again()
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Error(err)
	}
	if r, err := m.Get(id); err != nil || r.State != Ready {
		t.Errorf("pod = %+v, %v, want one that is ready", r, err)
	}
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
	if left := f.Left(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A pod may live for years: only restarts that follow each other quickly count.
func TestRestartsAreCountedByTheirRate(t *testing.T) {
	w, now := &watch{}, time.Unix(100, 0)
	for range 10 * restarts {
		if !w.mayRestart(now) {
			t.Fatal("a restart is refused")
		}
		now = now.Add(restartPeriod / restarts)
	}
	for range restarts - 1 {
		w.mayRestart(now)
	}
	if w.mayRestart(now) {
		t.Errorf("more than %d restarts in %s", restarts, restartPeriod)
	}
}

// A shim that dies again and again takes the pod with it.
func TestHolderIsNotStartedForEver(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), ownPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	for range restarts {
		f.Await(t, "start task")
		if err := m.AwaitTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		f.Forget()
		f.loseTask()
	}
	f.Await(t, "start task")
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	f.loseTask()
	f.Await(t, "save stopping")
	m.wait.Wait()
	if n := strings.Count(f.Trace(), "start task"); n != 1 {
		t.Errorf("after %d restarts the task was started once more:\n%s", restarts, f.Trace())
	}
	if r, err := m.Get(id); err != nil || r.State != Stopping {
		t.Errorf("pod = %+v, %v, want one that is stopping", r, err)
	}
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Errorf("AwaitTask of a pod that is not ready: %v", err)
	}
}

// Stop does not wait for a restart in progress, and nothing of it is left.
func TestStopEndsARestart(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), ownPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("stop task", errBroken) // containerd has not cleaned up after the shim
	f.Forget()
	f.loseTask()
	f.Await(t, "stop task\nstop task")
	f.Fail("stop task", nil)
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
	if left := f.Left(); len(left) != 0 {
		t.Errorf("left: %v\n%s", left, f.Trace())
	}
}

// The network and the namespaces of a pod whose container cannot die are given
// back all the same; its task has the same shim, and goes with it.
func TestNetworkDoesNotWaitForTheTask(t *testing.T) {
	f := newMachine()
	m := newManager(t, f)
	id, err := m.Run(t.Context(), ownPID("web"), "")
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("stop task", errBroken)
	if err := m.Stop(t.Context(), id, fakeMembers{f}); !errors.Is(err, errBroken) {
		t.Fatalf("Stop = %v", err)
	}
	for _, what := range []string{"address", "namespaces"} {
		if f.Has(what) {
			t.Errorf("%s waits for a task that does not end", what)
		}
	}
	f.Fail("stop task", nil)
	if err := m.Remove(t.Context(), id, fakeMembers{f}); err != nil {
		t.Fatal(err)
	}
	if left := f.Left(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
