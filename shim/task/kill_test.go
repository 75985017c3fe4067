// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// in gives a running task a control group, which need not exist. The runtime of the tests makes none.
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

// TestKillOutsideItsGroup kills inits that have left the control group in which they were created, or taken it away.
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
