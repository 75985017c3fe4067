// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// work is a function for Do that the test starts and ends.
type work struct {
	started chan context.Context
	finish  chan struct{}
}

func newWork() work {
	return work{started: make(chan context.Context, 1), finish: make(chan struct{})}
}

// run returns id when the test closes finish. A second run blocks on started.
func (w work) run(id string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		w.started <- ctx
		<-w.finish
		return id, nil
	}
}

type answer struct {
	id  string
	err error
}

// start runs Do in a goroutine.
func start(ctx context.Context, g *Calls[string], fn func(context.Context) (string, error)) <-chan answer {
	result := make(chan answer, 1)
	go func() {
		id, err := g.Do(ctx, "web", fn)
		result <- answer{id, err}
	}()
	return result
}

func returns(id string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return id, nil }
}

func checkDo(t *testing.T, g *Calls[string], fresh, want string) {
	t.Helper()
	if id, err := g.Do(t.Context(), "web", returns(fresh)); id != want || err != nil {
		t.Errorf("Do = %q, %v; want %q", id, err, want)
	}
}

// await waits until a call has n callers.
func (g *Calls[T]) await(n int) {
	for {
		g.mu.Lock()
		c := g.calls["web"]
		if c != nil && c.callers == n {
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		runtime.Gosched()
	}
}

// abandoned returns the context of work whose only caller has gone, and the function that ends the
// work.
func abandoned(t *testing.T, g *Calls[string]) (context.Context, func()) {
	t.Helper()
	w := newWork()
	ctx, cancel := context.WithCancel(t.Context())
	first := start(ctx, g, w.run("id1"))
	running := <-w.started
	cancel()
	if got := <-first; !errors.Is(got.err, context.Canceled) {
		t.Fatalf("caller that left got %v, want Canceled", got.err)
	}
	return running, func() { close(w.finish); g.workers.Wait() }
}

func TestEqualCallsShareOneRun(t *testing.T) {
	for _, policy := range []Policy{Finish, Keep, Cancel} {
		g := New[string](Options{Policy: policy})
		w := newWork()
		first := start(t.Context(), g, w.run("id1"))
		<-w.started
		second := start(t.Context(), g, returns("id2"))
		g.await(2)
		close(w.finish)
		for _, c := range []<-chan answer{first, second} {
			if got := <-c; got != (answer{"id1", nil}) {
				t.Errorf("policy %d: Do = %v, want id1", policy, got)
			}
		}
		checkDo(t, g, "id3", "id3")
	}
}

func TestResultOfAbandonedWork(t *testing.T) {
	for policy, want := range map[Policy]string{Finish: "id2", Keep: "id1"} {
		g := New[string](Options{Policy: policy, Left: "still in progress"})
		ctx, finish := abandoned(t, g)
		if ctx.Err() != nil {
			t.Errorf("policy %d: the work was cancelled with its caller", policy)
		}
		finish()
		checkDo(t, g, "id2", want)
		checkDo(t, g, "id3", "id3")
	}
}

func TestAbandonedWorkIsCancelled(t *testing.T) {
	g := New[string](Options{Policy: Cancel})
	ctx, finish := abandoned(t, g)
	<-ctx.Done()
	checkDo(t, g, "id2", "id2") // does not join the cancelled work
	finish()
}

func TestWorkWithACallerIsNotCancelled(t *testing.T) {
	g := New[string](Options{Policy: Cancel})
	w := newWork()
	ctx, cancel := context.WithCancel(t.Context())
	first := start(ctx, g, w.run("id1"))
	running := <-w.started
	second := start(t.Context(), g, returns("id2"))
	g.await(2)
	cancel()
	<-first
	if running.Err() != nil {
		t.Error("the work was cancelled though a caller waits for it")
	}
	close(w.finish)
	if got := <-second; got != (answer{"id1", nil}) {
		t.Errorf("Do = %v, want id1", got)
	}
}

func TestErrorIsNotKept(t *testing.T) {
	g := New[string](Options{Policy: Keep})
	broken := errors.New("no network")
	if _, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Fatalf("Do = %v, want %v", err, broken)
	}
	checkDo(t, g, "id2", "id2")
}

// TestForgottenResultIsNotReturned forgets a result after the work, and while it runs: a caller can
// see and remove an object before the call that creates it returns.
func TestForgottenResultIsNotReturned(t *testing.T) {
	g := New[string](Options{Policy: Keep})
	_, finish := abandoned(t, g)
	finish()
	g.Forget("id1")
	checkDo(t, g, "id2", "id2")

	_, finish = abandoned(t, g)
	g.Forget("id1")
	finish()
	checkDo(t, g, "id3", "id3")
}

func TestPanicIsAnErrorOfEachCaller(t *testing.T) {
	g := New[string](Options{Name: "run", Policy: Keep})
	started, panicked := make(chan struct{}), make(chan struct{})
	first := start(t.Context(), g, func(context.Context) (string, error) {
		close(started)
		<-panicked
		panic("boom")
	})
	<-started
	second := start(t.Context(), g, returns("id2"))
	g.await(2)
	close(panicked)
	for _, c := range []<-chan answer{first, second} {
		if got := <-c; !errdefs.IsInternal(got.err) {
			t.Errorf("Do = %v, want Internal", got.err)
		}
	}
	checkDo(t, g, "id3", "id3")
}

func TestTimeout(t *testing.T) {
	g := New[string](Options{Timeout: 1})
	_, err := g.Do(t.Context(), "web", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do = %v, want DeadlineExceeded", err)
	}
}

// TestCallThatHasEnded calls Do with a context that has ended: the work has no caller.
func TestCallThatHasEnded(t *testing.T) {
	for policy, want := range map[Policy]bool{Finish: true, Keep: true, Cancel: false} {
		g := New[string](Options{Policy: policy, Left: "still in progress"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := newWork()
		_, err := g.Do(ctx, "web", w.run("id1"))
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "still in progress: ") {
			t.Errorf("policy %d: Do = %v", policy, err)
		}
		close(w.finish)
		g.workers.Wait()
		if started := len(w.started) > 0; started != want {
			t.Errorf("policy %d: the work was started: %v, want %v", policy, started, want)
		}
	}
}

func TestCloseCancelsAndWaits(t *testing.T) {
	g := New[string](Options{Name: "pull"})
	ended := false
	started := make(chan struct{})
	result := start(t.Context(), g, func(ctx context.Context) (string, error) {
		close(started)
		<-ctx.Done()
		ended = true
		return "", ctx.Err()
	})
	<-started
	g.Close()
	if !ended {
		t.Error("Close returned before the work did")
	}
	if got := <-result; !errors.Is(got.err, context.Canceled) {
		t.Errorf("Do = %v, want Canceled", got.err)
	}
	if _, err := g.Do(t.Context(), "web", returns("id1")); !errdefs.IsUnavailable(err) {
		t.Errorf("Do after Close = %v, want Unavailable", err)
	}
}

// TestResultNearTheDeadlineIsKept returns a result to a caller whose deadline is so near that it
// may give up before it has the result. The repeated call must get the same object.
func TestResultNearTheDeadlineIsKept(t *testing.T) {
	g := New[string](Options{Policy: Keep})
	ctx, cancel := context.WithTimeout(t.Context(), deliveryTime/2)
	defer cancel()
	id, err := g.Do(ctx, "web", returns("id1"))
	if id != "id1" || err != nil {
		t.Fatalf("Do = %q, %v", id, err)
	}
	checkDo(t, g, "id2", "id1")
	checkDo(t, g, "id3", "id3")
}

func TestResultLongBeforeTheDeadlineIsNotKept(t *testing.T) {
	g := New[string](Options{Policy: Keep})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if id, err := g.Do(ctx, "web", returns("id1")); id != "id1" || err != nil {
		t.Fatalf("Do = %q, %v", id, err)
	}
	checkDo(t, g, "id2", "id2")
}
