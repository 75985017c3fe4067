// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestOneShimPerPod checks that concurrent starts of tasks of one pod share one shim, which exits
// with the last task.
func TestOneShimPerPod(t *testing.T) {
	h := newHost(t)
	ids := strings.Split("abcdefgh", "")
	addresses := h.startAll(ids, func(string) string { return h.bundleOf("pod", "true") })
	client, _ := h.client(addresses[0])
	first, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(t, first.ShimPid)
	for i, address := range addresses {
		if address != addresses[0] {
			t.Errorf("task %s has another shim at %s", ids[i], address)
		}
	}
	for _, id := range ids {
		// The last answer may be lost because the shim exits.
		_, _ = client.Shutdown(t.Context(), &taskapi.ShutdownRequest{ID: id})
	}
	gone()
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
	// A new task of the pod gets a new shim at the same address.
	dir := h.bundleOf("pod", "true")
	if again := h.mustStart(dir, "z"); again != addresses[0] {
		t.Errorf("address = %s, want %s", again, addresses[0])
	}
	h.client(addresses[0])
}

// TestStartWithoutReader checks that a new shim exits if containerd was killed and does not read
// the answer.
func TestStartWithoutReader(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "true")
	fifo := filepath.Join(dir, "log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	shimLog, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer shimLog.Close()
	reader, answer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	reader.Close()
	params, err := proto.Marshal(&bootapi.BootstrapParams{InstanceID: "a", Namespace: "ns", SocketDir: &h.sockets})
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.command(dir, "a", "start")
	cmd.Stdin, cmd.Stdout = bytes.NewReader(params), answer
	if err := cmd.Run(); err == nil {
		t.Error("start succeeded, but its answer was lost")
	}
	if _, err := io.ReadAll(shimLog); err != nil { // EOF when the shim exits
		t.Error(err)
	}
	if left, err := os.ReadDir(h.sockets); err != nil || len(left) != 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}

func TestStartReplacesLostShim(t *testing.T) {
	h := newHost(t)
	address := h.mustStart(h.bundleOf("pod", "true"), "a")
	client, _ := h.client(address)
	lost, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	killShim(t, lost.ShimPid)
	h.mustStart(h.bundleOf("pod", "true"), "b")
	client, _ = h.client(address)
	if now, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "b"}); err != nil || now.ShimPid == lost.ShimPid {
		t.Errorf("shim = %v, %v, want a new one", now, err)
	}
}

// TestProgramReplaced checks that start runs its own executable as the shim, even if an upgrade has
// replaced the file meanwhile.
func TestProgramReplaced(t *testing.T) {
	h := newHost(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.binary = filepath.Join(h.sockets, "containerd-shim-lite-v2")
	if err := os.Link(self, h.binary); err != nil {
		if output, err := exec.Command("cp", self, h.binary).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", err, output)
		}
	}
	input, parameters, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer parameters.Close()
	cmd := h.command(h.bundleOf("pod", "true"), "a", "start")
	cmd.Stdin = input
	var output bytes.Buffer
	cmd.Stdout = &output
	if err := cmd.Start(); err != nil { // waits for its parameters on stdin
		t.Fatal(err)
	}
	input.Close()
	if err := os.Remove(h.binary); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.binary, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	params, err := proto.Marshal(&bootapi.BootstrapParams{InstanceID: "a", Namespace: "ns", SocketDir: &h.sockets})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parameters.Write(params); err != nil {
		t.Fatal(err)
	}
	parameters.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	result := &bootapi.BootstrapResult{}
	if err := proto.Unmarshal(output.Bytes(), result); err != nil {
		t.Fatal(err)
	}
	h.client(result.Address) // fails if the shim does not answer
}

// TestEventAddressIsThatOfTheParameters checks that the address in the parameters is used, not the
// one in the environment, which may belong to another containerd.
func TestEventAddressIsThatOfTheParameters(t *testing.T) {
	h := newHost(t)
	address := filepath.Join(h.sockets, "events")
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h.events = address
	dir := h.bundleOf("pod", "sleep", "1000")
	client, _ := h.client(h.mustStart(dir, "a"))
	h.create(client, dir, "a")
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := client.Kill(t.Context(), &taskapi.KillRequest{ID: "a", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Error(err)
	}
}

// TestStartLegacy checks the form of containerd before 2.3, which sends options or nothing and
// reads an address.
func TestStartLegacy(t *testing.T) {
	h := newHost(t)
	dir := h.bundleOf("pod", "true")
	cmd := h.command(dir, "a", "start")
	output, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(output), "permission denied") {
		t.Skipf("the default socket directory is not writable: %s", output)
	}
	if err != nil {
		t.Fatalf("start: %v: %s", err, output)
	}
	client, _ := h.client(string(output))
	if written, err := os.ReadFile(filepath.Join(dir, "address")); err != nil || !bytes.Equal(written, output) {
		t.Errorf("address file = %q, %v, want %q", written, err, output)
	}
	if link, err := os.Readlink(filepath.Join(dir, "socket")); err != nil || "unix://"+link != string(output) {
		t.Errorf("socket = %q, %v", link, err)
	}
	connected, err := client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	gone := watch(t, connected.ShimPid)
	_, _ = client.Shutdown(t.Context(), &taskapi.ShutdownRequest{ID: "a"})
	gone()
	if _, err := os.Lstat(strings.TrimPrefix(string(output), "unix://")); !os.IsNotExist(err) {
		t.Errorf("socket after the shim has exited: %v", err)
	}
}

// TestEnvironmentOfTheRuntime checks that the OCI runtime inherits the environment of containerd
// without the variables in foreignEnv.
func TestEnvironmentOfTheRuntime(t *testing.T) {
	h := newHost(t)
	seen := filepath.Join(h.sockets, "environ")
	program := filepath.Join(h.sockets, "runtime")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv >"+seen+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := h.bundleOf("pod", "true")
	client, _ := h.client(h.mustStart(dir, "a"))
	opts := h.root.Options()
	opts.BinaryName = program
	encoded, err := anypb.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "a", Bundle: dir, Options: encoded}); err == nil {
		t.Error("Create succeeded with a runtime that fails")
	}
	environ, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(environ)) {
		if name, _, _ := strings.Cut(line, "="); slices.Contains(foreignEnv[:], name) {
			t.Errorf("the runtime inherited %s", line)
		}
	}
	if !strings.Contains(string(environ), beShim) {
		t.Errorf("the runtime did not inherit the other variables: %s", environ)
	}
}
