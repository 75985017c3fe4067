// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// TestPanicInAGoroutine checks that a panic is returned to the caller that waits for the goroutine,
// if there is one.
func TestPanicInAGoroutine(t *testing.T) {
	before := guard.Count()
	var running sync.WaitGroup
	guard.Go(t.Context(), &running, "work", func() { panic("boom") })
	running.Wait()
	if err := <-guard.Start(t.Context(), "work", boom("boom")); !errdefs.IsInternal(err) {
		t.Errorf("Start: %v, want Internal", err)
	}
	var group errgroup.Group
	group.Go(guard.Func(t.Context(), "work", boom("boom")))
	if err := group.Wait(); !errdefs.IsInternal(err) {
		t.Errorf("errgroup: %v, want Internal", err)
	}
	n, err := guard.Value(t.Context(), "work", func() (int, error) { panic("boom") })
	if n != 0 || !errdefs.IsInternal(err) {
		t.Errorf("Value: %d, %v, want 0 and Internal", n, err)
	}
	synctest.Test(t, func(t *testing.T) {
		guard.Go(t.Context(), nil, "work", func() { panic("boom") })
		synctest.Wait()
	})
	if n := guard.Count() - before; n != 5 {
		t.Errorf("%d counted, want 5", n)
	}
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		var runs []time.Duration
		begun := time.Now()
		err := guard.Keep(t.Context(), "work", func() error {
			runs = append(runs, time.Since(begun).Round(time.Millisecond))
			switch len(runs) {
			case 1, 2:
				panic("boom")
			case 3:
				return guard.Call(t.Context(), "part of the work", boom("boom"))
			case 4:
				time.Sleep(time.Hour)
				panic("boom")
			}
			return cause
		})
		if !errors.Is(err, cause) {
			t.Errorf("Keep = %v, want the error of the run that did not panic", err)
		}
		const ms = time.Millisecond
		want := []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, time.Hour + 800*ms}
		for i := range want {
			if i >= len(runs) || runs[i] != want[i] {
				t.Fatalf("runs at %v, want %v: pauses that double, and short ones again after an hour", runs, want)
			}
		}
	})
}

func TestKeepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		runs := 0
		err := guard.Keep(ctx, "work", func() error { runs++; panic("boom") })
		if !errdefs.IsInternal(err) || runs < 60 || runs > 75 {
			t.Errorf("Keep = %v after %d runs in an hour, want Internal and one a minute", err, runs)
		}
	})
}
