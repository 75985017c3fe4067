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

// setCgroup sets the cgroup of a running task, because the runtime of the tests creates none. The
// cgroup need not exist.
func (s *shim) setCgroup(id string) *cgroup.Group {
	s.t.Helper()
	c, err := s.service.tasks.get(id)
	if err != nil {
		s.t.Fatal(err)
	}
	group, err := cgroup.Plan(fmt.Sprintf("/lite-task-test-%d-%s", os.Getpid(), id))
	if err != nil {
		s.t.Skipf("no cgroups: %v", err)
	}
	c.resources.mu.Lock()
	defer c.resources.mu.Unlock()
	c.resources.cgroup = group
	return group
}

// kill sends SIGKILL to the init of a task.
func (s *shim) kill(id string) {
	s.t.Helper()
	if _, err := s.client.Kill(s.t.Context(), &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL)}); err != nil {
		s.t.Fatal(err)
	}
}

// TestKillInitOutsideCgroup kills inits that are not in the cgroup that the shim knows, or whose
// cgroup is gone.
func TestKillInitOutsideCgroup(t *testing.T) {
	s := newShim(t)
	for name, ownPids := range map[string]bool{"own": true, "shared": false} {
		for _, all := range []bool{true, false} {
			id := fmt.Sprintf("%s-%v", name, all)
			s.run(s.request(id, ownPids, "sleep", "1000"))
			s.setCgroup(id)
			if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: all}); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			s.events.until(t, fmt.Sprintf("/tasks/exit %s 137", id))
		}
	}
}

// TestResumeChecksFreezer makes the resume command fail before and after the container is thawed.
func TestResumeChecksFreezer(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	group := s.setCgroup("web")
	if err := group.Make(); err != nil {
		t.Skipf("cgroups cannot be made: %v", err)
	}
	t.Cleanup(group.Remove)
	if _, err := s.client.Pause(t.Context(), &taskapi.PauseRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	file, state := "/sys/fs/cgroup/freezer"+group.Paths["freezer"]+"/freezer.state", "FROZEN"
	if path, v2 := group.Paths[""]; v2 {
		file, state = "/sys/fs/cgroup"+path+"/cgroup.freeze", "1"
	}
	if err := os.WriteFile(file, []byte(state), 0); err != nil { // as the pause command does
		t.Skipf("no freezer: %v", err)
	}
	repair := s.root.Fail("resume", "interrupted")
	if _, err := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "web"}); err == nil {
		t.Error("Resume succeeded with a frozen container")
	}
	if got := s.status("web", ""); got != apitask.Status_PAUSED {
		t.Errorf("status = %v, want PAUSED", got)
	}
	group.Thaw()
	if _, err := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "web"}); err != nil {
		t.Errorf("resume of a thawed container: %v", err)
	}
	repair()
	if got := s.status("web", ""); got != apitask.Status_RUNNING {
		t.Errorf("status = %v, want RUNNING", got)
	}
	s.events.until(t, "/tasks/resumed")
}
