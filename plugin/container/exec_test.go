// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stdio"
)

// Exec makes a process that ends by SIGKILL, or with code 0 when f.Left has no "exec".
func (t *fakeTask) Exec(_ context.Context, _ string, _ *specs.Process, create cio.Creator) (runtime.Process, error) {
	if err := t.machine.Makes("exec", "exec"); err != nil {
		return nil, err
	}
	streams, err := create("exec1")
	if err != nil {
		return nil, err
	}
	return &fakeExec{machine: t.machine, streams: streams, ended: make(chan struct{})}, nil
}

type fakeExec struct {
	runtime.Process
	machine *machine
	streams cio.IO
	ended   chan struct{}
}

func (p *fakeExec) IO() cio.IO { return p.streams }

func (p *fakeExec) Wait(context.Context) (<-chan runtime.ExitStatus, error) {
	exited := make(chan runtime.ExitStatus, 1)
	go func() {
		<-p.ended
		exited <- *containerd.NewExitStatus(137, time.Time{}, nil)
	}()
	return exited, p.machine.Call("wait exec")
}

func (p *fakeExec) Start(context.Context) error { return p.machine.Call("start exec") }

func (p *fakeExec) Kill(_ context.Context, s syscall.Signal, _ ...containerd.KillOpts) error {
	close(p.ended)
	return p.machine.Call(fmt.Sprintf("kill exec %d", int(s)))
}

func (p *fakeExec) Delete(context.Context, ...containerd.ProcessDeleteOpts) (*runtime.ExitStatus, error) {
	select {
	case <-p.ended:
	default:
		close(p.ended) // it was never started
	}
	p.streams.Cancel()
	p.streams.Wait()
	p.streams.Close()
	return nil, p.machine.Undoes("delete exec", "exec")
}

// A command that takes too long is killed, and the answer is DeadlineExceeded.
func TestExecSyncTakesTooLong(t *testing.T) {
	f := newMachine()
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

// A caller that goes while the shim is stuck does not wait for it. What the shim has
// begun is ended when it answers.
func TestExecWhileTheShimIsStuck(t *testing.T) {
	for _, step := range []string{"exec", "start exec"} {
		t.Run(step, func(t *testing.T) {
			f := newMachine()
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
				t.Errorf("Exec = %v, want that it was cancelled", err)
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

// Of a container that ends while a command is started in it the shim says all kinds
// of things. The caller hears that it does not run.
func TestExecInAContainerThatEnds(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	id := mustStart(t, m, "app")
	f.Fail("start exec", errBroken)
	f.setState(id, containerd.Stopped)
	_, err := m.Exec(t.Context(), id, ExecOptions{Command: []string{"true"}})
	if code := status.Code(errgrpc.ToGRPC(err)); code != codes.FailedPrecondition || !errors.Is(err, errBroken) {
		t.Errorf("Exec = %v, code %s", err, code)
	}
	if f.Has("exec") {
		t.Errorf("the exec is left:\n%s", f.Trace())
	}
	f.setState(id, containerd.Running)
	if _, err := m.Exec(t.Context(), id, ExecOptions{Command: []string{"true"}}); errdefs.IsFailedPrecondition(err) {
		t.Errorf("Exec in a container that runs on = %v", err)
	}
}

// The kernel knows of the end of a process before it is reaped, and long before its shim tells.
func TestIsGone(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := uint32(cmd.Process.Pid)
	if isGone(pid) {
		t.Error("a process that runs is gone")
	}
	stdin.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if !isGone(pid) {
		t.Error("a process that is not reaped is there")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !isGone(pid) {
		t.Error("a process that is reaped is there")
	}
	if isGone(0) {
		t.Error("what has no process is gone")
	}
}

// closedLog are streams whose log is closed.
type closedLog struct{ stdio.Streams }

func (closedLog) ReopenLog(context.Context) error { return errBroken }

// Nor is its log to be reopened: it may be closed by then.
func TestReopenLogOfAContainerThatEnds(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	m.patience = 0
	id := mustStart(t, m, "app")
	r, err := m.containers.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	r.life.streams = closedLog{r.life.streams}
	if err := m.ReopenLog(t.Context(), id); !errors.Is(err, errBroken) || errdefs.IsFailedPrecondition(err) {
		t.Errorf("log of a container that runs on = %v", err)
	}
	f.setState(id, containerd.Stopped)
	if err := m.ReopenLog(t.Context(), id); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("log of a container that ends = %v", err)
	}
}

// The limits of a container that ends while they are set do not matter any more.
func TestUpdateOfAContainerThatEnds(t *testing.T) {
	f := newMachine()
	m := newManager(t, f, t.TempDir())
	m.patience = 0
	id := mustStart(t, m, "app")
	f.Fail("update task", errBroken)
	resources := &runtimeapi.LinuxContainerResources{CpuShares: 512}
	if err := m.UpdateResources(t.Context(), id, resources); !errors.Is(err, errBroken) {
		t.Errorf("update of a container that runs on = %v", err)
	}
	f.setState(id, containerd.Stopped)
	if err := m.UpdateResources(t.Context(), id, resources); err != nil {
		t.Errorf("update of a container that ends = %v", err)
	}
}

// TestExecStreams wants a stdout and a stderr whoever reads them: the shim of runc starts no
// process with one of both.
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
