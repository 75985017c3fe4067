// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
)

// TestLogMovesToAnotherBundle checks that the log of a shim moves to another bundle when the bundle
// of its first task is deleted.
func TestLogMovesToAnotherBundle(t *testing.T) {
	h := newHost(t)
	bundles := map[string]string{}
	var client taskapi.TTRPCTaskService
	for _, id := range []string{"a", "b", "c"} {
		bundles[id] = h.bundleOf("pod", "true")
		if err := unix.Mkfifo(filepath.Join(bundles[id], "log"), 0o600); err != nil {
			t.Fatal(err)
		}
		client, _ = h.client(h.mustStart(bundles[id], id))
		h.create(client, bundles[id], id)
	}
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(id string) {
		t.Helper()
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", connected.ShimPid))
		if err != nil || to != filepath.Join(bundles[id], "log") {
			t.Errorf("the log is %s, %v, want that of task %s", to, err, id)
		}
		if _, err := os.Stat(filepath.Join(bundles[id], "shim-crash.log")); err != nil {
			t.Errorf("crash file: %v", err)
		}
	}
	remove := func(id string) {
		t.Helper()
		if _, err := client.Wait(t.Context(), &taskapi.WaitRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Delete(t.Context(), &taskapi.DeleteRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	expect("a")
	remove("b")
	expect("a")
	remove("a")
	expect("c")
}

// TestSIGUSR1LogsStacks checks that SIGUSR1 makes a shim log its stacks, as with containerd's own
// shim, and does not end it.
func TestSIGUSR1LogsStacks(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "true")
	fifo := filepath.Join(dir, "log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	shimLog, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer shimLog.Close()
	client, _ := h.client(h.mustStart(dir, "a"))
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(int(connected.ShimPid), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(shimLog)
	lines.Buffer(nil, 2*maxStacks)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, "END goroutine stack dump") {
			if !strings.Contains(line, "logStacks") {
				t.Errorf("the stack of logStacks is missing: %s", line)
			}
			break
		}
	}
	if _, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"}); err != nil {
		t.Errorf("after the signal: %v", err)
	}
}

// TestStartedBeforeItsBundle checks that a shim that was started without a start command serves,
// logs to the bundle and leaves nothing when it is lost.
func TestStartedBeforeItsBundle(t *testing.T) {
	h := newHost(t)
	path := filepath.Join(h.sockets, "pod-1.0")
	socket, err := shimprocess.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := shimprocess.Shim{
		Namespace: "ns", ID: "a", Address: "/c.sock", Events: filepath.Join(h.sockets, "c"),
		Bundle: filepath.Join(h.sockets, "absent"), Socket: path, Pods: int(shimoption.Pod),
	}.Command(self, socket)
	cmd.Env = append(cmd.Env, beShim+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket.Close()
	client, _ := h.client("unix://" + path)

	dir := h.bundleOf("a", "sleep", "1000")
	if err := unix.Mkfifo(filepath.Join(dir, "log"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.create(client, dir, "a")
	if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", cmd.Process.Pid)); err != nil || to != filepath.Join(dir, "log") {
		t.Errorf("the log is %s, %v", to, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "shim-crash.log")); err != nil {
		t.Errorf("crash file: %v", err)
	}

	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got, warnings := h.delete(dir, "a"); got.ExitStatus != 137 || warnings != "" {
		t.Errorf("delete = %v, %q", got, warnings)
	}
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}
