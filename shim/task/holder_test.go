// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// podNamespaces returns a directory with a network, an IPC and a UTS namespace other than the
// test's, named as in /proc/<pid>/ns.
func podNamespaces(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces")
	}
	cmd := osexec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return fmt.Sprintf("/proc/%d/ns", cmd.Process.Pid)
}

// holderRequest returns a request for the container of a pod without a process, in the namespaces
// of a directory ("" for the test's) and with a cgroup of its own.
func (s *shim) holderRequest(id, namespaces string) (r *taskapi.CreateTaskRequest, cgroupsPath string) {
	s.t.Helper()
	cgroupsPath = fmt.Sprintf("/lite-shim-test-%d/%s", os.Getpid(), id)
	spec := &specs.Spec{
		Version:     specs.Version,
		Process:     &specs.Process{Cwd: "/"},
		Annotations: map[string]string{"io.kubernetes.cri.container-type": "sandbox"},
		Linux:       &specs.Linux{CgroupsPath: cgroupsPath},
	}
	if namespaces != "" {
		spec.Linux.Namespaces = []specs.LinuxNamespace{
			{Type: specs.NetworkNamespace, Path: namespaces + "/net"},
			{Type: specs.IPCNamespace, Path: namespaces + "/ipc"},
			{Type: specs.UTSNamespace, Path: namespaces + "/uts"},
		}
	}
	config, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	r = s.request(id, false)
	if err := os.WriteFile(filepath.Join(r.Bundle, "config.json"), config, 0o600); err != nil {
		s.t.Fatal(err)
	}
	parent, err := cgroup.Plan(filepath.Dir(cgroupsPath))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(parent.Remove)
	return r, cgroupsPath
}

// cgroupDirs returns the directories of a cgroup.
func cgroupDirs(t *testing.T, path string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, err := filepath.Glob(pattern + path)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return found
}

// threadEnded reports whether a thread of this process has exited or is a zombie.
func threadEnded(t *testing.T, tid uint32) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "X") || strings.HasPrefix(state, "Z")
}

func TestHolder(t *testing.T) {
	s := newShim(t)
	namespaces := podNamespaces(t)
	r, path := s.holderRequest("pod", namespaces)
	pid := s.run(r)

	// containerd's built-in CRI takes them from here for new containers.
	for _, name := range []string{"net", "ipc", "uts"} {
		want, err := os.Readlink(filepath.Join(namespaces, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name)); err != nil || got != want {
			t.Errorf("the task is in the namespace %s, %v, want %s", got, err, want)
		}
	}
	// cAdvisor reads these counters. The namespace has no device but lo.
	counters, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil || strings.Count(string(counters), ":") != 1 || !strings.Contains(string(counters), "lo:") {
		t.Errorf("network counters: %v\n%s", err, counters)
	}
	if len(cgroupDirs(t, path)) == 0 {
		t.Errorf("the pod has no cgroup %s", path)
	}
	pids, err := s.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "pod"})
	if err != nil || len(pids.GetProcesses()) != 1 || pids.Processes[0].Pid != pid {
		t.Errorf("Pids = %v, %v, want the thread %d: containerd treats a task without processes as leaked", pids, err, pid)
	}
	if stats, err := s.client.Stats(t.Context(), &taskapi.StatsRequest{ID: "pod"}); err != nil || stats.GetStats() == nil {
		t.Errorf("Stats = %v, %v", stats, err)
	}
	connected, err := s.client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "pod"})
	if err != nil || connected.TaskPid != pid {
		t.Errorf("Connect = %v, %v, want task %d", connected, err, pid)
	}

	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "pod", Signal: uint32(unix.SIGKILL), All: true}); err != nil {
		t.Fatal(err)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "pod"})
	if err != nil || waited.ExitStatus != 137 {
		t.Errorf("Wait = %v, %v, want status 137", waited, err)
	}
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "pod"})
	if err != nil || deleted.ExitStatus != 137 || deleted.Pid != pid {
		t.Errorf("Delete = %v, %v, want status 137 of %d", deleted, err, pid)
	}
	if left := cgroupDirs(t, path); len(left) != 0 {
		t.Errorf("cgroups left: %v", left)
	}
	events := []string{"/tasks/create", "/tasks/start", "/tasks/exit pod 137", "/tasks/delete"}
	if diff := cmp.Diff(events, s.events.until(t, "/tasks/delete")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for !threadEnded(t, pid) {
		if t.Context().Err() != nil {
			t.Fatalf("the thread %d has not exited", pid)
		}
	}
}

// A pod in the host's network namespace has the host's counters.
func TestHolderOnHostNetwork(t *testing.T) {
	s := newShim(t)
	r, _ := s.holderRequest("pod", "")
	pid := s.run(r)
	want, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || got != want {
		t.Errorf("the task is in the network namespace %s, %v, want %s", got, err, want)
	}
}

// The thread of a holder is never the main thread, which cannot exit. Several holders make that
// likely to show.
func TestHolderIsNotMainThread(t *testing.T) {
	s := newShim(t)
	for i := range 8 {
		id := fmt.Sprintf("pod-%d", i)
		r, _ := s.holderRequest(id, "")
		if pid := s.run(r); pid == uint32(os.Getpid()) {
			t.Errorf("%s is the main thread", id)
		}
	}
}

func TestHolderSignals(t *testing.T) {
	s := newShim(t)
	r, _ := s.holderRequest("pod", "")
	s.run(r)
	kill := func(sig unix.Signal) error {
		_, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "pod", Signal: uint32(sig)})
		return err
	}
	if err := kill(unix.SIGHUP); err != nil || s.status("pod", "") != apitask.Status_RUNNING {
		t.Errorf("SIGHUP: %v, %s", err, s.status("pod", ""))
	}
	for range 2 { // the second can come too late
		if err := kill(unix.SIGTERM); err != nil {
			wantClass(t, err, errdefs.IsNotFound, "not found")
		}
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "pod"})
	if err != nil || waited.ExitStatus != 143 {
		t.Errorf("Wait = %v, %v, want status 143", waited, err)
	}
	wantClass(t, kill(unix.SIGTERM), errdefs.IsNotFound, "not found")
}

// Operations that need a process are rejected and change nothing.
func TestHolderRejectsProcessOperations(t *testing.T) {
	s := newShim(t)
	r, _ := s.holderRequest("pod", "")
	s.run(r)
	_, execute := s.client.Exec(t.Context(), s.exec("pod", "e", "true"))
	_, pause := s.client.Pause(t.Context(), &taskapi.PauseRequest{ID: "pod"})
	_, resume := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "pod"})
	_, checkpoint := s.client.Checkpoint(t.Context(), &taskapi.CheckpointTaskRequest{ID: "pod", Path: t.TempDir()})
	for name, err := range map[string]error{"exec": execute, "pause": pause, "resume": resume, "checkpoint": checkpoint} {
		if !errdefs.IsFailedPrecondition(errgrpc.ToNative(err)) {
			t.Errorf("%s: %v, want failed precondition", name, err)
		}
	}
	if got := s.status("pod", ""); got != apitask.Status_RUNNING {
		t.Errorf("status = %s", got)
	}
}

// A holder that was never started is deleted like any other task.
func TestHolderNotStarted(t *testing.T) {
	s := newShim(t)
	r, path := s.holderRequest("pod", "")
	s.create(r)
	if got := s.status("pod", ""); got != apitask.Status_CREATED {
		t.Errorf("status = %s, want CREATED", got)
	}
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "pod"}); err != nil {
		t.Fatal(err)
	}
	if left := cgroupDirs(t, path); len(left) != 0 {
		t.Errorf("cgroups left: %v", left)
	}
}

func TestHolderWithInvalidNamespace(t *testing.T) {
	s := newShim(t)
	files := t.TempDir()
	for _, name := range []string{"net", "ipc", "uts"} {
		if err := os.WriteFile(filepath.Join(files, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{"gone": "/nonexistent", "no namespace": files} {
		r, path := s.holderRequest("pod", dir)
		if _, err := s.client.Create(t.Context(), r); err == nil || !strings.Contains(err.Error(), "network namespace") {
			t.Errorf("%s: %v, want an error about the network namespace", name, err)
		}
		if left := cgroupDirs(t, path); len(left) != 0 {
			t.Errorf("%s: cgroups left: %v", name, left)
		}
	}
}
