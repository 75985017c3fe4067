// SPDX-License-Identifier: Apache-2.0

package undo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/internal/undo"
)

func TestRun(t *testing.T) {
	errBusy := errors.New("device busy")
	errGone := errors.New("plugin gone")
	tests := []struct {
		name     string
		push     []string
		fail     map[string]error
		wantLeft []string
	}{
		{name: "empty"},
		{name: "all undone", push: []string{"reserve name", "pin namespaces", "attach network"}},
		{
			name:     "goes on after failures",
			push:     []string{"reserve name", "pin namespaces", "attach network"},
			fail:     map[string]error{"pin namespaces": errBusy, "attach network": errGone},
			wantLeft: []string{"attach network", "pin namespaces"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s undo.Stack
			var ran, want []string
			for _, name := range tt.push {
				s.Push(name, func(context.Context) error {
					ran = append(ran, name)
					return tt.fail[name]
				})
				want = append([]string{name}, want...)
			}
			left, err := s.Run(t.Context())
			if diff := cmp.Diff(want, ran); diff != "" {
				t.Errorf("order of undo (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantLeft, left); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			for name, cause := range tt.fail {
				if !errors.Is(err, cause) {
					t.Errorf("error of %q is lost in %v", name, err)
				}
			}
			if len(tt.fail) == 0 && err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

func TestRunTwiceUndoesOnce(t *testing.T) {
	var s undo.Stack
	n := 0
	s.Push("count", func(context.Context) error { n++; return nil })
	for range 2 {
		if left, err := s.Run(t.Context()); left != nil || err != nil {
			t.Fatalf("Run = %v, %v", left, err)
		}
	}
	if n != 1 {
		t.Errorf("undone %d times, want once", n)
	}
}

func TestKeep(t *testing.T) {
	var s undo.Stack
	s.Push("never", func(context.Context) error { t.Error("a step was undone after Keep"); return nil })
	s.Keep()
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRunPassesContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var s undo.Stack
	s.Push("net", func(ctx context.Context) error { return ctx.Err() })
	left, err := s.Run(ctx)
	if !errors.Is(err, context.Canceled) || len(left) != 1 {
		t.Errorf("Run = %v, %v; want the step left with the context's error", left, err)
	}
}

func Example() {
	runPod := func() (err error) {
		var u undo.Stack
		defer func() {
			left, undoErr := u.Run(context.Background())
			if len(left) > 0 {
				fmt.Println("not undone:", left)
			}
			err = errors.Join(err, undoErr)
		}()

		fmt.Println("pin namespaces")
		u.Push("namespaces", func(context.Context) error {
			fmt.Println("unpin namespaces")
			return nil
		})
		if err := errors.New("no CNI config"); err != nil {
			return fmt.Errorf("attach network: %w", err)
		}
		u.Keep()
		return nil
	}
	fmt.Println(runPod())
	// Output:
	// pin namespaces
	// unpin namespaces
	// attach network: no CNI config
}

// TestPanicInAnUndo checks that an undo that panics is returned in left, and that the other undos
// run.
func TestPanicInAnUndo(t *testing.T) {
	var s undo.Stack
	undone := false
	s.Push("name", func(context.Context) error { undone = true; return nil })
	s.Push("network", func(context.Context) error { panic("boom") })
	left, err := s.Run(t.Context())
	if diff := cmp.Diff([]string{"network"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if !undone || !errdefs.IsInternal(err) {
		t.Errorf("Run = %v, the other step undone: %v; want Internal and true", err, undone)
	}
}
