// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

func TestExec(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	pid := s.runExec(s.exec("web", "probe", "sh", "-c", "exit 3"))
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web", ExecID: "probe"})
	if err != nil || waited.ExitStatus != 3 {
		t.Errorf("Wait = %v, %v, want status 3", waited, err)
	}
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web", ExecID: "probe"})
	if err != nil || deleted.ExitStatus != 3 || deleted.Pid != pid {
		t.Errorf("Delete = %v, %v, want status 3 of process %d", deleted, err, pid)
	}
	_, err = s.client.State(t.Context(), &taskapi.StateRequest{ID: "web", ExecID: "probe"})
	wantClass(t, err, errdefs.IsNotFound, "not found")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit probe 3"}
	if diff := cmp.Diff(want, s.events.until(t, "/tasks/exit probe 3")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestExecErrors(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	ctx := t.Context()
	if _, err := s.client.Exec(ctx, s.exec("web", "a", "true")); err != nil {
		t.Fatal(err)
	}
	_, err := s.client.Exec(ctx, s.exec("web", "a", "true"))
	wantClass(t, err, errdefs.IsAlreadyExists, "already exists")
	_, err = s.client.Exec(ctx, s.exec("web", "../b", "true"))
	wantClass(t, err, errdefs.IsInvalidArgument, "invalid argument")
	_, err = s.client.Kill(ctx, &taskapi.KillRequest{ID: "web", ExecID: "a", Signal: 9})
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	// The exec was never started, so its status is 0.
	if deleted, err := s.client.Delete(ctx, &taskapi.DeleteRequest{ID: "web", ExecID: "a"}); err != nil || deleted.ExitStatus != 0 {
		t.Errorf("Delete of an exec that was not started = %v, %v, want status 0", deleted, err)
	}
	repair := s.root.Fail("exec", "no such user")
	if _, err := s.client.Exec(ctx, s.exec("web", "b", "true")); err != nil {
		t.Fatal(err)
	}
	_, err = s.client.Start(ctx, &taskapi.StartRequest{ID: "web", ExecID: "b"})
	repair()
	if err == nil || !strings.Contains(err.Error(), "OCI runtime exec failed: no such user") {
		t.Errorf("error = %v, want the runtime's error", err)
	}
	if got := s.status("web", "b"); got != apitask.Status_STOPPED {
		t.Errorf("status = %v, want STOPPED", got)
	}
	if _, err := s.client.Wait(ctx, &taskapi.WaitRequest{ID: "web", ExecID: "b"}); err != nil {
		t.Error(err)
	}
}

// fullDisk returns a directory in which no file can be created.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("full", dir, "tmpfs", 0, "nr_inodes=1"); err != nil {
		t.Skipf("mount: %s", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// Starts do not need space on the disk: a probe succeeds with a full one, and environment values
// are never written to it.
func TestStartWithFullDisk(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	shell, plain, terminal := s.request("shell", true, "true"), s.exec("web", "plain", "true"), s.exec("web", "terminal", "true")
	shell.Terminal, terminal.Terminal = true, true
	t.Setenv("TMPDIR", fullDisk(t))
	t.Setenv("XDG_RUNTIME_DIR", "")
	s.run(shell)
	for _, r := range []*taskapi.ExecProcessRequest{plain, terminal} {
		s.runExec(r)
		waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web", ExecID: r.ExecID})
		if err != nil || waited.ExitStatus != 0 {
			t.Errorf("Wait for exec %s = %v, %v, want status 0", r.ExecID, waited, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(shell.Bundle, "terminal-*")); err != nil || len(left) > 0 {
		t.Errorf("left in the bundle: %q, %v", left, err)
	}
}

// The exit of the init is published last, after the exits of the execs that it ends.
func TestInitExitIsLast(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", false, "sleep", "1000"))
	const execs = 5
	for i := range execs {
		s.runExec(s.exec("web", fmt.Sprintf("e%d", i), "sleep", "1000"))
	}
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	events := s.events.until(t, "/tasks/exit web 137")
	exits := 0
	for _, e := range events {
		if strings.HasPrefix(e, "/tasks/exit e") {
			exits++
		}
	}
	if exits != execs {
		t.Errorf("%d execs exited before the init, want %d: %q", exits, execs, events)
	}
}

// beginExec starts an exec and returns when the runtime has entered its exec command. The command
// continues after open is called; started then returns the result.
func (s *shim) beginExec(r *taskapi.ExecProcessRequest) (started <-chan error, open func()) {
	s.t.Helper()
	if _, err := s.client.Exec(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
	entered, open := s.root.Gate("exec")
	result := make(chan error)
	go func() {
		_, err := s.client.Start(context.Background(), &taskapi.StartRequest{ID: r.ID, ExecID: r.ExecID})
		result <- err
	}()
	entered()
	return result, open
}

// An exec whose start hangs does not delay the exit of the container.
func TestInitExitDuringExecStart(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	started, open := s.beginExec(s.exec("web", "late", "sh", "-c", "exit 5"))
	defer open()
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	events := s.events.until(t, "/tasks/exit web 137")
	wantClass(t, <-started, errdefs.IsFailedPrecondition, "failed precondition")
	want := []string{"/tasks/exec-added", "/tasks/exit web 137"}
	if diff := cmp.Diff(want, events[len(events)-2:]); diff != "" {
		t.Errorf("last events (-want +got):\n%s", diff)
	}
	_, err := s.client.Exec(t.Context(), s.exec("web", "never", "true"))
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
}

// The error of an exec whose start is interrupted by the exit of the container names that reason,
// whatever error the runtime returns.
func TestExecErrorDuringInitExit(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	started, open := s.beginExec(s.exec("web", "late", "true"))
	s.container("web").admission.reject() // as kill does before the init has exited
	s.root.Fail("exec", "cannot exec in a paused container")
	open()
	err := <-started
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	if !strings.Contains(err.Error(), "paused") {
		t.Errorf("error = %v, want the runtime's error, too", err)
	}
}

// unkillable is a process that ignores signals.
type unkillable struct{ child }

func (unkillable) Signal(unix.Signal) error { return nil }

// A killed container rejects execs although its init still runs: with cgroup v1 it may be frozen.
func TestExecAfterKill(t *testing.T) {
	set := &setup{id: "web", ownPids: true}
	init := newProcess(set, "", stdio.New(stdio.Config{}))
	init.state, init.child = running, unkillable{}
	c := &container{setup: set, init: init, resources: &resources{}, admission: &admission{init: init}}
	for sig, is := range map[unix.Signal]func(error) bool{
		unix.SIGTERM: func(err error) bool { return err == nil },
		unix.SIGKILL: errdefs.IsFailedPrecondition,
	} {
		c.admission.rejected = false
		if err := c.signal(sig, false); err != nil {
			t.Fatal(err)
		}
		if err := c.admission.admit(newProcess(set, "late", stdio.New(stdio.Config{}))); !is(err) {
			t.Errorf("exec after %s = %v", sig, err)
		}
	}
}

func TestPidsReportExecIDs(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	pid := s.runExec(s.exec("web", "shell", "sleep", "1000"))
	pids, err := s.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	details := &options.ProcessDetails{}
	for _, p := range pids.Processes {
		if p.Pid == pid {
			if err := p.Info.UnmarshalTo(details); err != nil {
				t.Fatal(err)
			}
		}
	}
	if details.ExecID != "shell" {
		t.Errorf("process %d is of exec %q, want shell: %v", pid, details.ExecID, pids)
	}
}

// The deletion of an exec closes its output, even if another process still holds the pipe open.
func TestDeleteClosesExecOutput(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	fifo, reader := outputFIFO(t)
	r := s.exec("web", "daemon", "sh", "-c", "sleep 1000 & echo $!")
	r.Stdout = fifo
	s.runExec(r)
	if _, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web", ExecID: "daemon"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web", ExecID: "daemon"}); err != nil {
		t.Fatal(err)
	}
	output, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(output), &pid); err != nil {
		t.Fatalf("output %q: %v", output, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the background process has exited: %v", err)
	}
}

// A client can close stdin before the process is created.
func TestCloseIOBeforeStart(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	fifo := filepath.Join(t.TempDir(), "in")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.exec("web", "cat", "cat")
	r.Stdin = fifo
	if _, err := s.client.Exec(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.CloseIO(t.Context(), &taskapi.CloseIORequest{ID: "web", ExecID: "cat", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Start(t.Context(), &taskapi.StartRequest{ID: "web", ExecID: "cat"}); err != nil {
		t.Fatal(err)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web", ExecID: "cat"})
	if err != nil || waited.ExitStatus != 0 {
		t.Errorf("Wait = %v, %v, want status 0", waited, err)
	}
}

func TestTerminal(t *testing.T) {
	s := newShim(t)
	fifo, reader := outputFIFO(t)
	r := s.request("web", true, "sh", "-c", "trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.01; done")
	r.Terminal, r.Stdout = true, fifo
	s.run(r)
	ready := make([]byte, len("ready\r\n"))
	if _, err := io.ReadFull(reader, ready); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.ResizePty(t.Context(), &taskapi.ResizePtyRequest{ID: "web", Width: 91, Height: 23}); err != nil {
		t.Fatal(err)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"})
	if err != nil || waited.ExitStatus != 6 {
		t.Errorf("Wait = %v, %v, want status 6", waited, err)
	}
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(reader)
	if got := string(ready) + string(rest); err != nil || got != "ready\r\n23 91\r\n" {
		t.Errorf("output = %q, %v", got, err)
	}
}

// TestProcessEndsOnce deletes a process while its start is in progress, which then fails: the first
// end counts.
func TestProcessEndsOnce(t *testing.T) {
	p := newProcess(&setup{id: "web"}, "probe", stdio.New(stdio.Config{}))
	if _, err := p.unstartedChild(); err != nil {
		t.Fatal(err)
	}
	p.failStart()
	<-p.done
	if p.exit.Status != 0 {
		t.Errorf("exit status %d after the start failed, want that of the deletion, 0", p.exit.Status)
	}
}
