// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
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
	killShim(t, connected.ShimPid)
	task := watch(t, connected.TaskPid)
	got, warnings := h.delete(dir, "a")
	if got.ExitStatus != 137 || got.Pid != connected.TaskPid || got.ExitedAt == nil || warnings != "" {
		t.Errorf("delete = %v, %q, want status 137 of process %d", got, warnings, connected.TaskPid)
	}
	task()
	if h.root.Knows("ns", "a") {
		t.Error("the OCI runtime still has the container")
	}
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}

// TestDeleteOfATaskNeverCreated checks the delete command that containerd runs after a restart if
// it was killed between the start of a shim and the creation of the task. The shim must exit and
// leave no files.
func TestDeleteOfATaskNeverCreated(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "sleep", "1000")
	client, conn := h.client(h.mustStart(dir, "a"))
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	gone := watch(t, connected.ShimPid)
	if _, warnings := h.delete(dir, "a"); warnings != "" {
		t.Errorf("delete printed warnings: %s", warnings)
	}
	gone()
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}

// TestDeleteUnderALiveShim checks the delete command for a task whose shim still runs, but did not
// answer containerd. The shim must drop the task, and exit after its last task.
func TestDeleteUnderALiveShim(t *testing.T) {
	h := newHost(t)
	dirs := map[string]string{"a": h.bundleOf("pod", "sleep", "1000"), "b": h.bundleOf("pod", "sleep", "1000")}
	client, conn := h.client(h.mustStart(dirs["a"], "a"))
	h.create(client, dirs["a"], "a")
	h.mustStart(dirs["b"], "b")
	h.create(client, dirs["b"], "b")
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(t, connected.ShimPid)
	if got, warnings := h.delete(dirs["a"], "a"); got.ExitStatus != 137 || warnings != "" {
		t.Errorf("delete = %v, %q, want status 137", got, warnings)
	}
	if _, err := client.State(t.Context(), &taskapi.StateRequest{ID: "a"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("state of the deleted task: %v, want not found", err)
	}
	if state, err := client.State(t.Context(), &taskapi.StateRequest{ID: "b"}); err != nil || state.Status != apitask.Status_RUNNING {
		t.Errorf("state of the other task: %v, %v, want running", state, err)
	}
	conn.Close()
	if got, warnings := h.delete(dirs["b"], "b"); got.ExitStatus != 137 || warnings != "" {
		t.Errorf("delete = %v, %q, want status 137", got, warnings)
	}
	gone()
}

// TestDeleteAfterDelete checks that the delete command reports the exit status after a complete
// deletion and calls no OCI runtime.
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
		t.Errorf("%d commands of the OCI runtime, want 0", n)
	}
}

// TestDeleteRemovesTheGroupOfALostHolder checks that the delete command removes the cgroup of a
// holder: no other component does after the shim is lost.
func TestDeleteRemovesTheGroupOfALostHolder(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod")
	path := h.holderSpec(dir)
	client, _ := h.client(h.mustStart(dir, "pod"))
	h.create(client, dir, "pod")
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	group, err := cgroup.Plan(path)
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := group.Stats(); err != nil {
		t.Errorf("cgroup of the pod: %v, %v", stats, err)
	}
	killShim(t, connected.ShimPid)
	if got, warnings := h.delete(dir, "pod"); got.ExitStatus != 137 || warnings != "" {
		t.Errorf("delete = %v, %q, want status 137", got, warnings)
	}
	if _, err := group.Stats(); !errdefs.IsNotFound(err) {
		t.Errorf("cgroup after delete: %v, want not found", err)
	}
	if commands := h.root.Trace(); len(commands) != 0 {
		t.Errorf("commands of the OCI runtime: %v, want none", commands)
	}
}

// holderSpec writes the spec of a holder to a bundle and returns the path of its cgroup.
func (h *host) holderSpec(dir string) string {
	h.t.Helper()
	parent := fmt.Sprintf("/lite-shim-delete-test-%d", os.Getpid())
	group, err := cgroup.Plan(parent)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(group.Remove)
	config, err := json.Marshal(&specs.Spec{
		Process:     &specs.Process{Cwd: "/"},
		Annotations: map[string]string{"io.kubernetes.cri.sandbox-id": "pod", "io.kubernetes.cri.container-type": "sandbox"},
		Linux:       &specs.Linux{CgroupsPath: parent + "/pod"},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return parent + "/pod"
}

func TestDeleteNothing(t *testing.T) {
	h := newHost(t)
	got, warnings := h.delete(t.TempDir(), "a")
	if got.ExitStatus != 137 || got.Pid != 0 || warnings != "" {
		t.Errorf("delete = %v, %q", got, warnings)
	}
}
