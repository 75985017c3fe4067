// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// A command that exceeds the timeout is killed, and the error is DeadlineExceeded.
func TestExecSyncTimeout(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Forget()
	_, err := m.ExecSync(t.Context(), id, []string{"sleep"}, time.Millisecond)
	if code := status.Code(errgrpc.ToGRPC(err)); code != codes.DeadlineExceeded {
		t.Errorf("ExecSync = %v, code %s", err, code)
	}
	f.Await(t, "delete exec")
	if f.Has("exec") {
		t.Errorf("the exec is left:\n%s", f.Trace())
	}
}

// A cancelled Exec does not wait for a stuck shim. A process that the shim starts later is killed.
func TestExecWhileTheShimIsStuck(t *testing.T) {
	for _, step := range []string{"exec", "start exec"} {
		t.Run(step, func(t *testing.T) {
			f := newFakeNode()
			m := newManager(t, f, t.TempDir())
			id := mustStart(t, m, "app")
			f.Forget()
			answer := f.Block(step)
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := m.Exec(ctx, id, ExecOptions{Command: []string{"true"}})
				result <- err
			}()
			f.Await(t, step)
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("Exec = %v, want context.Canceled", err)
			}
			answer()
			f.Await(t, "delete exec")
			want := "read spec\nexec\nwait exec\nstart exec\nkill exec 9\ndelete exec"
			if diff := cmp.Diff(want, f.Trace()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// If the container exits during an Exec, the shim's error can be anything. The caller gets
// FailedPrecondition.
func TestExecInAContainerThatEnds(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Fail("start exec", errBroken)
	f.Task(id).SetState(runtime.Stopped)
	_, err := m.Exec(t.Context(), id, ExecOptions{Command: []string{"true"}})
	if code := status.Code(errgrpc.ToGRPC(err)); code != codes.FailedPrecondition || !errors.Is(err, errBroken) {
		t.Errorf("Exec = %v, code %s", err, code)
	}
	if f.Has("exec") {
		t.Errorf("the exec is left:\n%s", f.Trace())
	}
	f.Task(id).SetState(runtime.Running)
	if _, err := m.Exec(t.Context(), id, ExecOptions{Command: []string{"true"}}); errdefs.IsFailedPrecondition(err) {
		t.Errorf("Exec in a running container = %v", err)
	}
}

// The kernel knows that a process has exited before the process is reaped, and long before the shim
// reports the exit.
func TestProcessExited(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := uint32(cmd.Process.Pid)
	if processExited(pid) {
		t.Error("a running process has exited")
	}
	stdin.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if !processExited(pid) {
		t.Error("a process that is not reaped has not exited")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !processExited(pid) {
		t.Error("a reaped process has not exited")
	}
	if processExited(0) {
		t.Error("PID 0 has exited")
	}
}

// closedLog are streams whose log cannot be reopened.
type closedLog struct{ containerio.Streams }

func (closedLog) ReopenLog(context.Context) error { return errBroken }

// The log of a container that exits may be closed already. ReopenLog returns FailedPrecondition.
func TestReopenLogOfAContainerThatEnds(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	m.watcher.exitEventTimeout = 0
	id := mustStart(t, m, "app")
	r, err := m.containers.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	r.life.streams = closedLog{r.life.streams}
	if err := m.ReopenLog(t.Context(), id); !errors.Is(err, errBroken) || errdefs.IsFailedPrecondition(err) {
		t.Errorf("log of a running container = %v", err)
	}
	f.Task(id).SetState(runtime.Stopped)
	if err := m.ReopenLog(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("log of an exited container = %v", err)
	}
}

// An update that fails because the container exits is no error.
func TestUpdateOfAContainerThatEnds(t *testing.T) {
	f := newFakeNode()
	m := newManager(t, f, t.TempDir())
	m.watcher.exitEventTimeout = 0
	id := mustStart(t, m, "app")
	f.Fail("update task", errBroken)
	resources := &runtimeapi.LinuxContainerResources{CpuShares: 512}
	if err := m.UpdateResources(t.Context(), id, resources); !errors.Is(err, errBroken) {
		t.Errorf("update of a running container = %v", err)
	}
	f.Task(id).SetState(runtime.Stopped)
	if err := m.UpdateResources(t.Context(), id, resources); err != nil {
		t.Errorf("update of an exited container = %v", err)
	}
}

// TestExecStreams wants a stdout and a stderr even if the client reads only one:
// containerd-shim-runc-v2 starts no process with only one of them.
func TestExecStreams(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		c := command{ExecOptions: ExecOptions{Terminal: terminal}, pipes: t.TempDir()}
		streams, err := c.io(&process{})("exec")
		if err != nil {
			t.Fatal(err)
		}
		got := streams.Config()
		if got.Stdin != "" || got.Stdout == "" || (got.Stderr == "") != terminal {
			t.Errorf("streams with terminal %t: %+v", terminal, got)
		}
		streams.Cancel()
		streams.Wait()
		if err := streams.Close(); err != nil {
			t.Error(err)
		}
	}
}
