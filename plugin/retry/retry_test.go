// SPDX-License-Identifier: Apache-2.0

package retry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const never = time.Hour

func TestNextEqualCallGetsTheUnclaimedResult(t *testing.T) {
	g := New(never)
	started, finish, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := g.Do(ctx, "web", func(ctx context.Context) (string, error) {
			defer close(finished)
			close(started)
			<-finish
			return "id1", ctx.Err()
		})
		gaveUp <- err
	}()
	<-started
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Fatalf("caller that gave up got %v", err)
	}
	close(finish)
	<-finished

	runs := 0
	again := func(context.Context) (string, error) { runs++; return "id2", nil }
	if id, err := g.Do(t.Context(), "web", again); id != "id1" || err != nil {
		t.Errorf("first repetition = %q, %v; want the result of the first call", id, err)
	}
	if id, err := g.Do(t.Context(), "web", again); id != "id2" || err != nil || runs != 1 {
		t.Errorf("second repetition = %q, %v after %d runs; want new work", id, err, runs)
	}
}

func TestEqualCallJoinsWorkInProgress(t *testing.T) {
	g := New(never)
	started, finish := make(chan struct{}), make(chan struct{})
	work := func(context.Context) (string, error) {
		close(started) // a second run would panic here
		<-finish
		return "id1", nil
	}
	first := g.join(t.Context(), "web", work)
	<-started
	if second := g.join(t.Context(), "web", work); second != first {
		t.Error("an equal call does not join the call in progress")
	}
	close(finish)
	if id, err := g.Do(t.Context(), "web", work); id != "id1" || err != nil {
		t.Errorf("joined call = %q, %v", id, err)
	}
}

func TestFailureIsNotKept(t *testing.T) {
	g := New(never)
	broken := errors.New("no network")
	if _, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	id, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "id2", nil })
	if id != "id2" || err != nil {
		t.Errorf("after a failure: %q, %v", id, err)
	}
}

func TestForgottenResultIsNotReturned(t *testing.T) {
	g := New(never)
	gone, cancel := context.WithCancel(t.Context())
	finished := make(chan struct{})
	cancel()
	_, _ = g.Do(gone, "web", func(context.Context) (string, error) { close(finished); return "id1", nil })
	<-finished
	for _, c := range g.snapshot() {
		<-c.done
	}
	g.Forget("id1")
	id, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "id2", nil })
	if id != "id2" || err != nil {
		t.Errorf("got %q, %v; want new work", id, err)
	}
}

func (g *Group) snapshot() (calls []*call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls {
		calls = append(calls, c)
	}
	return calls
}

// A result is not kept if it was removed before the work returned.
func TestForgottenWhileInProgress(t *testing.T) {
	g := New(never)
	ctx, cancel := context.WithCancel(t.Context())
	started, finish := make(chan struct{}), make(chan struct{})
	c := g.join(ctx, "web", func(context.Context) (string, error) {
		close(started)
		<-finish
		return "id1", nil
	})
	<-started
	cancel()
	g.Forget("id1") // a caller of List has removed it
	close(finish)
	<-c.done
	id, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "id2", nil })
	if id != "id2" || err != nil {
		t.Errorf("after the removal: %q, %v; want new work", id, err)
	}
}

// If the work panics, all its callers get the error, and the next equal call is a new one.
func TestPanicIsTheErrorOfTheCall(t *testing.T) {
	g := New(never)
	started, panicked := make(chan struct{}), make(chan struct{})
	errs := make(chan error, 2)
	call := func() {
		_, err := g.Do(t.Context(), "web", func(context.Context) (string, error) {
			close(started)
			<-panicked
			panic("boom")
		})
		errs <- err
	}
	go call()
	<-started
	go call()
	close(panicked)
	for range 2 {
		if err := <-errs; !errdefs.IsInternal(err) {
			t.Errorf("Do = %v, want Internal", err)
		}
	}
	id, err := g.Do(t.Context(), "web", func(context.Context) (string, error) { return "id1", nil })
	if id != "id1" || err != nil {
		t.Errorf("the next call: %q, %v", id, err)
	}
}
