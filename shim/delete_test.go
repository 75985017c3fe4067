// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"os"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func TestDeleteAfterLostShim(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "sleep", "1000")
	address := h.mustStart(dir, "a")
	client, _ := h.client(address)
	h.create(client, dir, "a")
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(t, connected.ShimPid)
	if err := unix.Kill(int(connected.ShimPid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone()
	task := watch(t, connected.TaskPid)
	got, warnings := h.delete(dir, "a")
	if got.ExitStatus != 137 || got.Pid != connected.TaskPid || got.ExitedAt == nil || warnings != "" {
		t.Errorf("delete = %v, %q, want status 137 of process %d", got, warnings, connected.TaskPid)
	}
	task()
	if h.root.Knows("ns", "a") {
		t.Error("the runtime still has the container")
	}
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}

// The delete command finds the exit status, and after a complete deletion does
// nothing else.
func TestDeleteAfterDelete(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "sh", "-c", "exit 7")
	client, _ := h.client(h.mustStart(dir, "a"))
	h.create(client, dir, "a")
	if _, err := client.Wait(t.Context(), &taskapi.WaitRequest{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	want, err := client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	commands := len(h.root.Trace())
	got, warnings := h.delete(dir, "a")
	if !proto.Equal(got, want) || warnings != "" {
		t.Errorf("delete = %v, %q, want %v", got, warnings, want)
	}
	if n := len(h.root.Trace()) - commands; n != 0 {
		t.Errorf("%d commands of the runtime, want 0", n)
	}
}

func TestDeleteNothing(t *testing.T) {
	h := newHost(t)
	got, warnings := h.delete(t.TempDir(), "a")
	if got.ExitStatus != 137 || got.Pid != 0 || warnings != "" {
		t.Errorf("delete = %v, %q", got, warnings)
	}
}
