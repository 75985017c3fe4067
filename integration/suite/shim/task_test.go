// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

func execute(t *testing.T, c ctr) {
	c.detached(t, "exec", "sleep", "1000")
	if out := c.run(t, "task", "exec", "--exec-id", "one", "exec", "sh", "-c", "echo in; hostname"); !strings.HasPrefix(out, "in") {
		t.Errorf("exec printed %q", out)
	}
	// The ID can be used again.
	c.run(t, "task", "exec", "--exec-id", "one", "exec", "true")
	cmd := c.Ctr(t.Context(), "task", "exec", "--exec-id", "two", "exec", "cat")
	cmd.Stdin = strings.NewReader("through exec")
	if out, err := harness.Output(cmd); err != nil || out != "through exec" {
		t.Errorf("exec of cat: %q, %v", out, err)
	}
}

func executeExitCode(t *testing.T, c ctr) {
	c.detached(t, "execcode", "sleep", "1000")
	_, err := c.try(t, "task", "exec", "--exec-id", "one", "execcode", "sh", "-c", "exit 9")
	wantCode(t, err, 9)
	if _, err := c.try(t, "task", "exec", "--exec-id", "two", "execcode", "/no/such/program"); err == nil {
		t.Error("exec of a missing program: no error")
	}
	c.awaitStatus(t, "execcode", "RUNNING")
}

// outOfMemory checks that when an exec is killed for lack of memory, the OOM event comes before the
// exec's exit event, although the container continues. Docker gets this information only from the
// event.
func outOfMemory(t *testing.T, c ctr) {
	const rounds = 3
	c.run(t, c.args("-d --memory-limit 33554432", "hungry", "sleep", "1000")...)
	t.Cleanup(func() { c.remove(t, "hungry") })
	lines := c.events(t)
	// The only sign that ctr is listening is an event.
	subscribed := make(chan struct{})
	go func() {
		defer close(subscribed)
		lines.Scan()
	}()
	if err := harness.Await(t.Context(), func() error {
		c.run(t, "task", "pause", "hungry")
		c.run(t, "task", "resume", "hungry")
		select {
		case <-subscribed:
			return nil
		default:
			return errors.New("ctr events is not listening")
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		_, err := c.try(t, "task", "exec", "--exec-id", "one", "hungry", "sh", "-c", "x=a; while :; do x=$x$x; done")
		wantCode(t, err, 128+int(syscall.SIGKILL))
		told := false
		for lines.Scan() && !strings.Contains(lines.Text(), "/tasks/exit") {
			told = told || strings.Contains(lines.Text(), "/tasks/oom")
		}
		if !told {
			t.Error("no OOM event before the exit event of the exec")
		}
	}
}

// events returns the output of `ctr events` until the test ends.
func (c ctr) events(t *testing.T) *bufio.Scanner {
	t.Helper()
	cmd := c.Ctr(t.Context(), "events")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

func kill(t *testing.T, c ctr) {
	c.detached(t, "kill", "sleep", "1000")
	c.run(t, "task", "kill", "-s", "SIGKILL", "kill")
	c.awaitStatus(t, "kill", "STOPPED")
}

// terminate checks the exit code of a container that handles the signal, in a `ctr run` that waits
// for it.
func terminate(t *testing.T, c ctr) {
	cmd := c.Ctr(t.Context(), c.args("--rm", "terminate", "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("output of the container: %q, %v", line, err)
	}
	c.run(t, "task", "kill", "-s", "SIGTERM", "terminate")
	wantCode(t, cmd.Wait(), 3)
}

func pause(t *testing.T, c ctr) {
	c.detached(t, "pause", "sleep", "1000")
	c.run(t, "task", "pause", "pause")
	c.awaitStatus(t, "pause", "PAUSED")
	c.run(t, "task", "resume", "pause")
	c.awaitStatus(t, "pause", "RUNNING")
}

func metrics(t *testing.T, c ctr) {
	c.detached(t, "metrics", "sleep", "1000")
	if out := c.run(t, "task", "metrics", "metrics"); !strings.Contains(out, "memory") {
		t.Errorf("task metrics has no memory:\n%s", out)
	}
	// Not `exec -d`: ctr does not remove its FIFOs.
	exec := c.Ctr(t.Context(), "task", "exec", "--exec-id", "one", "metrics", "sleep", "999")
	if err := exec.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitProcesses(t.Context(), "sleep", 2); err != nil {
		t.Fatal(err)
	}
	out := c.run(t, "task", "ps", "metrics")
	if lines := strings.Split(out, "\n"); len(lines) != 3 || !strings.Contains(out, "one") {
		t.Errorf("task ps does not list two processes, one of them an exec:\n%s", out)
	}
	c.run(t, "task", "kill", "-s", "SIGKILL", "--exec-id", "one", "metrics")
	wantCode(t, exec.Wait(), 128+int(syscall.SIGKILL))
}

// attach checks that `ctr task attach` returns the container's exit code; ctr then removes the
// task.
func attach(t *testing.T, c ctr) {
	c.run(t, c.args("-d", "attach", "sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; exit 4")...)
	cmd := c.Ctr(t.Context(), "task", "attach", "attach")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.run(t, "task", "exec", "--exec-id", "go", "attach", "touch", "/go")
	wantCode(t, cmd.Wait(), 4)
	c.run(t, "container", "rm", "attach")
}

// shimKilled kills the shim: containerd must detect that and clean up the shim's resources.
func shimKilled(t *testing.T, c ctr) {
	if c.Handler == harness.HandlerRunc {
		t.Skip("containerd-shim-runc-v2 leaves its socket behind")
	}
	c.run(t, c.args("-d --null-io", "orphan", "sleep", "1000")...)
	shims, err := c.Processes("containerd-shim")
	if err != nil || len(shims) != 1 {
		t.Fatalf("shims %v, %v; want one", shims, err)
	}
	if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		_, err := c.try(t, "container", "rm", "orphan")
		return err
	}); err != nil {
		t.Errorf("remove the container of a killed shim: %v", err)
	}
}

// daemonKilled kills containerd with SIGKILL. A container that exits meanwhile must be stopped with
// its exit code, and its exit event must arrive after subscribers can be back. A running container
// must continue.
func daemonKilled(t *testing.T, c ctr) {
	if c.Handler == harness.HandlerRunc {
		t.Skip("containerd treats a task of containerd-shim-runc-v2 that exited meanwhile as leaked")
	}
	c.run(t, c.args("-d --null-io", "survivor", "sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; exit 7")...)
	c.detached(t, "witness", "sleep", "1000")
	shells, err := c.Processes("sh")
	if err != nil || len(shells) != 1 {
		t.Fatalf("shells %v, %v; want one", shells, err)
	}
	if err := c.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/go", shells[0]), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitProcesses(t.Context(), "sh", 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitExit(t, "survivor")
	c.awaitStatus(t, "survivor", "STOPPED")
	c.awaitStatus(t, "witness", "RUNNING")
	if code := c.exitStatus(t, "survivor"); code != 7 {
		t.Errorf("exit status after the restart: %d, want 7", code)
	}
	c.remove(t, "survivor")
	c.run(t, "task", "exec", "--exec-id", "one", "witness", "true")
	c.detached(t, "next", "sleep", "1000")
}

// awaitExit waits for the exit event of a task.
func (c ctr) awaitExit(t *testing.T, id string) {
	t.Helper()
	lines, told := c.events(t), make(chan bool, 1)
	go func() {
		found := false
		for !found && lines.Scan() {
			found = strings.Contains(lines.Text(), "/tasks/exit") && strings.Contains(lines.Text(), id)
		}
		told <- found
	}()
	select {
	case found := <-told:
		if !found {
			t.Error("ctr events has exited")
		}
	case <-time.After(time.Minute):
		t.Errorf("no exit event of %s", id)
	}
}

// exitStatus returns the exit status of a stopped task from containerd. ctr does not show it.
func (c ctr) exitStatus(t *testing.T, id string) uint32 {
	t.Helper()
	client, err := c.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := namespaces.WithNamespace(t.Context(), namespaces.Default)
	container, err := client.LoadContainer(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, err := task.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return status.ExitStatus
}
