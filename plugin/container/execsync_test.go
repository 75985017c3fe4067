// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// An ExecSync is one call of the shim: containerd is not asked for anything.
func TestExecSyncInShim(t *testing.T) {
	f := newFakeNode()
	f.inShim = func(_ context.Context, c runtime.ShimCommand) (uint32, error) {
		_, _ = io.WriteString(c.Stdout, strings.Join(c.Args, " "))
		_, _ = io.WriteString(c.Stderr, c.Task)
		if c.ExecID == "" || c.Idle != execIdleTimeout || c.MaxDrain != execDrainTimeout {
			t.Errorf("exec %q with drain limits %s and %s", c.ExecID, c.Idle, c.MaxDrain)
		}
		return 7, nil
	}
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	got, err := m.ExecSync(t.Context(), id, []string{"echo", "hello"}, 0)
	want := Result{Stdout: []byte("echo hello"), Stderr: []byte(id), Code: 7}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ExecSync: %v, result (-want +got):\n%s", err, diff)
	}
	if steps := f.Trace(); steps != "" {
		t.Errorf("calls of containerd:\n%s", steps)
	}
}

// The timeout of the request bounds the call, and its error is that of the timeout.
func TestExecSyncTimeoutInShim(t *testing.T) {
	f := newFakeNode()
	f.inShim = func(ctx context.Context, _ runtime.ShimCommand) (uint32, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	_, err := m.ExecSync(t.Context(), id, []string{"sleep"}, time.Millisecond)
	if !errdefs.IsDeadlineExceeded(err) || !strings.Contains(err.Error(), `command ["sleep"] took longer than 1ms`) {
		t.Errorf("ExecSync = %v", err)
	}
}

// The error of a command in a container that exits meanwhile is FailedPrecondition, whatever error
// the shim returns.
func TestExecSyncInShimOfAContainerThatEnds(t *testing.T) {
	f := newFakeNode()
	f.inShim = func(context.Context, runtime.ShimCommand) (uint32, error) { return 0, errBroken }
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	if _, err := m.ExecSync(t.Context(), id, []string{"true"}, 0); !errors.Is(err, errBroken) || errdefs.IsFailedPrecondition(err) {
		t.Errorf("ExecSync in a running container = %v", err)
	}
	f.Task(id).SetState(runtime.Stopped)
	if _, err := m.ExecSync(t.Context(), id, []string{"true"}, 0); !errors.Is(err, errBroken) || !errdefs.IsFailedPrecondition(err) {
		t.Errorf("ExecSync in an exited container = %v", err)
	}
}

// A shim of an earlier release does not have the call. It is asked once, and runs commands as
// containerd's API does; so does another shim, which is not asked.
func TestExecSyncInOtherShims(t *testing.T) {
	for name, other := range map[string]bool{"earlier release": false, "containerd-shim-runc-v2": true} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			f := newFakeNode()
			f.other = other
			f.inShim = func(context.Context, runtime.ShimCommand) (uint32, error) {
				asked++
				return 0, errdefs.ErrNotImplemented
			}
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			for range 2 {
				f.Forget()
				// The command of the fake runs until it is killed.
				if _, err := m.ExecSync(t.Context(), id, []string{"sleep"}, time.Millisecond); !errdefs.IsDeadlineExceeded(err) {
					t.Errorf("ExecSync = %v", err)
				}
				f.Await(t, "delete exec")
			}
			if want := map[bool]int{false: 1, true: 0}[other]; asked != want {
				t.Errorf("the shim was asked %d times, want %d", asked, want)
			}
		})
	}
}
