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
