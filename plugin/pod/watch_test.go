// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// The watch of the task starts before any caller can stop the pod: a later watch would restart the
// task of a stopped pod.
func TestWatchStartsBeforePodIsVisible(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	watched := false
	f.published = func(r *Record) { watched = m.watches.get(r.ID) != nil }
	mustRun(t, m, ownPID("web"))
	if !watched {
		t.Error("the pod is visible and its task is not watched")
	}
}

// A pod whose init ends before the pod is visible is not ready.
func TestInitEndsBeforePodIsVisible(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	unblock := f.Block("save ready")
	ended := make(chan error)
	go func() {
		_, err := m.Run(context.Background(), sharedPID("web"), "")
		ended <- err
	}()
	f.Await(t, "save ready")
	f.loseTask()
	unblock()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	m.watches.running.Wait()
	if r := m.List()[0]; r.State != Stopping {
		t.Errorf("the pod is %s", r.State)
	}
}

// A pod without an init outlives its holder, which is restarted.
func TestHolderIsRestarted(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	f.Forget()
	unblock := f.Block("start task")
	f.loseTask()
	f.Await(t, "start task")

	// A caller that wants to join the shim waits for the restart.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.AwaitTask(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("AwaitTask during the restart: %v", err)
	}
	unblock()
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Error(err)
	}
	if r, err := m.Get(id); err != nil || r.State != Ready {
		t.Errorf("pod = %+v, %v, want Ready", r, err)
	}
	mustRemove(t, m, f, id)
	checkLeft(t, f)
}

// A pod may run for years: only restarts within restartPeriod count.
func TestRestartLimitIsARate(t *testing.T) {
	w, now := &watch{}, time.Unix(100, 0)
	for range 10 * maxRestarts {
		if !w.mayRestart(now) {
			t.Fatal("a restart is refused")
		}
		now = now.Add(restartPeriod / maxRestarts)
	}
	for range maxRestarts - 1 {
		w.mayRestart(now)
	}
	if w.mayRestart(now) {
		t.Errorf("more than %d restarts in %s", maxRestarts, restartPeriod)
	}
}

// A pod whose shim dies repeatedly is not ready any more.
func TestHolderRestartsAreLimited(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	for range maxRestarts {
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
	m.watches.running.Wait()
	if n := strings.Count(f.Trace(), "start task"); n != 1 {
		t.Errorf("after %d restarts the task was started once more:\n%s", maxRestarts, f.Trace())
	}
	if r, err := m.Get(id); err != nil || r.State != Stopping {
		t.Errorf("pod = %+v, %v, want Stopping", r, err)
	}
	if err := m.AwaitTask(t.Context(), id); err != nil {
		t.Errorf("AwaitTask of a pod that is not ready: %v", err)
	}
}

// Stop cancels a restart in progress, and releases everything.
func TestStopCancelsRestart(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
	f.Fail("stop task", errBroken) // containerd has not cleaned up after the shim
	f.Forget()
	f.loseTask()
	f.Await(t, "stop task\nstop task")
	f.Fail("stop task", nil)
	mustRemove(t, m, f, id)
	checkLeft(t, f)
}

// Network and namespaces are released even if the task of the pod cannot be deleted.
func TestNetworkDoesNotWaitForTheTask(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f)
	id := mustRun(t, m, ownPID("web"))
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
	mustRemove(t, m, f, id)
	checkLeft(t, f)
}
