// SPDX-License-Identifier: Apache-2.0

package reap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/process"
)

func TestMain(m *testing.M) {
	if err := BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func newReaper(t *testing.T) *Reaper {
	t.Helper()
	r := New()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		script string
		want   int
	}{
		{"exit 0", 0},
		{"exit 7", 7},
		{"kill -TERM $$", 128 + int(unix.SIGTERM)},
		{"kill -KILL $$", 128 + int(unix.SIGKILL)},
	}
	r := newReaper(t)
	for _, tt := range tests {
		child, err := r.Start(t.Context(), exec.Command("sh", "-c", tt.script))
		if err != nil {
			t.Fatal(err)
		}
		<-child.Done()
		if got := child.Exit(); got.Status != tt.want || got.At.IsZero() {
			t.Errorf("%s: exit = %+v, want status %d", tt.script, got, tt.want)
		}
		if err := child.Signal(unix.SIGTERM); !errdefs.IsNotFound(err) {
			t.Errorf("%s: signal after the exit: %v, want not found", tt.script, err)
		}
	}
}

// A function that follows the exit is called if the process has ended already, too.
func TestAfterExit(t *testing.T) {
	r := newReaper(t)
	child, err := r.Start(t.Context(), exec.Command("sh", "-c", "exit 7"))
	if err != nil {
		t.Fatal(err)
	}
	status := make(chan int)
	follow := func() { status <- child.Exit().Status }
	child.AfterExit(follow)
	if got := <-status; got != 7 {
		t.Errorf("status = %d, want 7", got)
	}
	child.AfterExit(follow)
	if got := <-status; got != 7 {
		t.Errorf("status = %d after the exit, want 7", got)
	}
}

// TestKillGroup checks that the children of a group leader are killed with it, and that a process
// in another process's group is killed alone.
func TestKillGroup(t *testing.T) {
	r := newReaper(t)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000")
	cmd.Stdout = in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	leader, err := r.Start(t.Context(), cmd)
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.KillGroup(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil { // ends when both processes have closed it
		t.Error(err)
	}
	<-leader.Done()
	if err := leader.KillGroup(); !errdefs.IsNotFound(err) {
		t.Errorf("after the exit: %v, want not found", err)
	}

	member, err := r.Start(t.Context(), exec.Command("sleep", "1000")) // in the group of this test
	if err != nil {
		t.Fatal(err)
	}
	if err := member.KillGroup(); err != nil {
		t.Fatal(err)
	}
	<-member.Done()
}

func TestSignal(t *testing.T) {
	r := newReaper(t)
	child, err := r.Start(t.Context(), exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Signal(1000); !errdefs.IsInvalidArgument(err) {
		t.Errorf("signal 1000: %v, want invalid argument", err)
	}
	if err := child.Signal(unix.SIGINT); err != nil {
		t.Error(err)
	}
	<-child.Done()
	if got, want := child.Exit().Status, 128+int(unix.SIGINT); got != want {
		t.Errorf("status = %d, want %d", got, want)
	}
}

// A process that a command left behind can be watched even if it has ended before its PID is known.
// TestPidfd checks that the copy refers to the process, and that a reaped process has none.
func TestPidfd(t *testing.T) {
	r := New()
	child, err := r.Start(t.Context(), exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := child.Pidfd()
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	if err := unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGTERM, nil, 0); err != nil {
		t.Fatal(err)
	}
	<-child.Done()
	if status := child.Exit().Status; status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d, want that of SIGTERM", status)
	}
	if late, err := child.Pidfd(); err == nil {
		defer late.Close()
		if err := unix.PidfdSendSignal(int(late.Fd()), 0, nil, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("signal to a reaped process: %v, want no such process", err)
		}
	} else if !errdefs.IsNotFound(err) {
		t.Errorf("pidfd of a reaped process: %v, want not found", err)
	}
}

func TestWatchExitedProcess(t *testing.T) {
	r := newReaper(t)
	release := r.Hold()
	pid := orphan(t, "exit 5")
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	r.reapOrphans()
	child, err := r.Watch(t.Context(), pid)
	release()
	if err != nil {
		t.Fatal(err)
	}
	<-child.Done()
	if got := child.Exit().Status; got != 5 {
		t.Errorf("status = %d, want 5", got)
	}
}

// A process whose pidfd Go's poller refuses is not killed, and its exit status is reported.
func TestWatchWithoutPoller(t *testing.T) {
	r := newReaper(t)
	cmd := exec.Command("sh", "-c", "read x; exit 7")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0) // blocking, so that the poller refuses it
	if err != nil {
		t.Fatal(err)
	}
	child := r.watch(t.Context(), cmd.Process.Pid, os.NewFile(uintptr(fd), "pidfd"))
	if err := child.Signal(0); err != nil {
		t.Error(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-child.Done()
	if got := child.Exit().Status; got != 7 {
		t.Errorf("status = %d, want 7", got)
	}
}

// A process that cannot be waited for any more is killed, and its exit is reported.
func TestPanicWhileWaiting(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pidfd, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{pid: cmd.Process.Pid, pidfd: pidfd, reaper: New(), end: NewEnd()}
	c.waitAsync(t.Context(), func() { panic("boom") })
	<-c.Done()
	if got := c.Exit().Status; got != StatusUnknown {
		t.Errorf("status = %d, want unknown", got)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
}

// orphan returns the PID of a process that runs a script and whose parent has exited.
func orphan(t *testing.T, script string) int {
	t.Helper()
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	defer open.Close()
	cmd := exec.Command("sh", "-c", "sh -c 'read x <&3; "+script+"' >/dev/null 2>&1 & echo $!")
	cmd.ExtraFiles = []*os.File{gate}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// Orphans that are not watched are reaped, but not during a Hold.
func TestOrphansAreReaped(t *testing.T) {
	r := newReaper(t)
	release := r.Hold()
	pid := orphan(t, "exit 0")
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatalf("orphan was reaped under a hold: %v", err)
	}
	release()
	release() // the second call has no effect
	waitReaped(t, pid)
	if r.holds != 0 {
		t.Errorf("%d holds left, want 0", r.holds)
	}
}

// waitReaped blocks until the process is no longer a child.
func waitReaped(t *testing.T, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.ECHILD {
			return
		}
		if err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func TestKillOrphan(t *testing.T) {
	r := newReaper(t)
	release := r.Hold()
	pid := orphan(t, "exec sleep 1000")
	r.KillOrphan(pid)
	release()
	waitReaped(t, pid)
	r.KillOrphan(os.Getpid()) // not a child, so not killed
}

// Each of many concurrent exits is reported for its own process.
func TestConcurrentExits(t *testing.T) {
	r := newReaper(t)
	const n = 100
	children := make([]*Child, n)
	for i := range n {
		var err error
		if children[i], err = r.Start(t.Context(), exec.Command("sh", "-c", fmt.Sprintf("exit %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range children {
		<-c.Done()
		if got := c.Exit().Status; got != i {
			t.Errorf("process %d: status = %d, want %d", c.Pid(), got, i)
		}
	}
}
