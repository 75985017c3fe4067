// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	apitask "github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// in gives a running task a control group, which need not exist. The runtime of the tests makes
// none.
func (s *shim) in(id string) *cgroup.Group {
	s.t.Helper()
	c, err := s.service.tasks.get(id)
	if err != nil {
		s.t.Fatal(err)
	}
	group, err := cgroup.Plan(fmt.Sprintf("/lite-task-test-%d-%s", os.Getpid(), id))
	if err != nil {
		s.t.Skipf("no control groups: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.group = group
	return group
}

// kill sends SIGKILL to the init of a task.
func (s *shim) kill(id string) {
	s.t.Helper()
	if _, err := s.client.Kill(s.t.Context(), &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL)}); err != nil {
		s.t.Fatal(err)
	}
}

// TestKillOutsideItsGroup kills inits that have left the control group in which they were created,
// or taken it away.
func TestKillOutsideItsGroup(t *testing.T) {
	s := newShim(t)
	for name, ownPids := range map[string]bool{"own": true, "shared": false} {
		for _, all := range []bool{true, false} {
			id := fmt.Sprintf("%s-%v", name, all)
			s.run(s.request(id, ownPids, "sleep", "1000"))
			s.in(id)
			if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: all}); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			s.events.until(t, fmt.Sprintf("/tasks/exit %s 137", id))
		}
	}
}

// TestResumeAsksTheKernel has the command fail before and after it has thawed the container.
func TestResumeAsksTheKernel(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	group := s.in("web")
	if err := group.Make(); err != nil {
		t.Skipf("control groups cannot be made: %v", err)
	}
	t.Cleanup(group.Remove)
	if _, err := s.client.Pause(t.Context(), &taskapi.PauseRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	file, state := "/sys/fs/cgroup/freezer"+group.Paths["freezer"]+"/freezer.state", "FROZEN"
	if path, v2 := group.Paths[""]; v2 {
		file, state = "/sys/fs/cgroup"+path+"/cgroup.freeze", "1"
	}
	if err := os.WriteFile(file, []byte(state), 0); err != nil { // as the command does
		t.Skipf("no freezer: %v", err)
	}
	mend := s.root.Fail("resume", "interrupted")
	if _, err := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "web"}); err == nil {
		t.Error("Resume has succeeded, and the container is frozen")
	}
	if got := s.status("web", ""); got != apitask.Status_PAUSED {
		t.Errorf("status = %v, want PAUSED", got)
	}
	group.Thaw()
	if _, err := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "web"}); err != nil {
		t.Errorf("resume of what has been thawed: %v", err)
	}
	mend()
	if got := s.status("web", ""); got != apitask.Status_RUNNING {
		t.Errorf("status = %v, want RUNNING", got)
	}
	s.events.until(t, "/tasks/resumed")
}
