// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// logged returns what fn logs.
func logged(t *testing.T, fn func()) string {
	t.Helper()
	var out bytes.Buffer
	before := log.L.Logger.Out
	log.L.Logger.SetOutput(&out)
	defer log.L.Logger.SetOutput(before)
	fn()
	return out.String()
}

func boom(value any) func() error {
	return func() error { panic(value) }
}

func TestCallWithoutPanic(t *testing.T) {
	before := guard.Count()
	cause := errors.New("cause")
	text := logged(t, func() {
		if err := guard.Call(t.Context(), "work", func() error { return nil }); err != nil {
			t.Errorf("Call = %v, want nil", err)
		}
		if err := guard.Call(t.Context(), "work", func() error { return cause }); !errors.Is(err, cause) {
			t.Errorf("Call = %v, want the error of fn itself", err)
		}
	})
	if guard.Count() != before || text != "" {
		t.Errorf("%d counted and %q logged, want nothing", guard.Count()-before, text)
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	var nilMap map[string]int
	for name, fn := range map[string]func() error{
		"text":          boom("text"),
		"nil":           boom(nil),
		"class":         boom(fmt.Errorf("image: %w", errdefs.ErrNotFound)),
		"runtime error": func() error { nilMap["a"] = 1; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			before := guard.Count()
			ctx := log.WithLogger(context.Background(), log.L.WithField("container", "web"))
			var err error
			text := logged(t, func() { err = guard.Call(ctx, "start", fn) })

			var caught *guard.Panic
			if !errors.As(err, &caught) || !errdefs.IsInternal(err) || errdefs.IsNotFound(err) {
				t.Fatalf("Call = %v, want a *Panic that is Internal only", err)
			}
			if !strings.Contains(string(caught.Stack), "guard_test") || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("stack:\n%s\nerror: %v\nwant the panicking function in the stack, and no stack in the error", caught.Stack, err)
			}
			if !strings.HasPrefix(err.Error(), "start: panic: ") {
				t.Errorf("error = %q, want the name of the call first", err)
			}
			if n := strings.Count(text, "\n"); n != 1 || !strings.Contains(text, "guard_test") || !strings.Contains(text, "container=web") {
				t.Errorf("logged %d lines:\n%s\nwant one with the stack and the fields of the context", n, text)
			}
			if n := guard.Count() - before; n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
		})
	}
}

func TestCatch(t *testing.T) {
	var failed []error
	fail := func(err error) { failed = append(failed, err); panic("and again") }
	before := guard.Count()
	_ = logged(t, func() {
		guard.Catch(t.Context(), "work", func() {}, fail)()
		guard.Catch(t.Context(), "work", func() { panic("text") }, nil)()
		guard.Catch(t.Context(), "work", func() { panic("text") }, fail)()
	})
	if len(failed) != 1 || !errdefs.IsInternal(failed[0]) {
		t.Errorf("failed with %v, want once and with the panic", failed)
	}
	if n := guard.Count() - before; n != 3 {
		t.Errorf("%d counted, want 3", n)
	}
}

// TestGoexitIsNoPanic checks that runtime.Goexit, which t.Fatal calls, is not treated as a panic.
func TestGoexitIsNoPanic(t *testing.T) {
	before := guard.Count()
	var running sync.WaitGroup
	running.Go(func() {
		_ = guard.Call(t.Context(), "work", func() error { runtime.Goexit(); return nil })
	})
	running.Wait()
	if guard.Count() != before {
		t.Error("runtime.Goexit counted as a panic")
	}
}
