// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// withCgroup runs a task and sets an empty cgroup as that of the task, or skips the test where no
// cgroup can be created.
func (s *shim) withCgroup(driver bool) *cgroup.Group {
	s.t.Helper()
	group, err := cgroup.Plan(fmt.Sprintf("/lite-stats-test-%d", os.Getpid()))
	if err == nil {
		err = group.Make()
	}
	if err != nil {
		s.t.Skipf("cannot create cgroups: %v", err)
	}
	s.t.Cleanup(group.Remove)
	opts := s.root.Options()
	opts.SystemdCgroup = driver
	request := s.request("web", true, "sleep", "1000")
	if request.Options, err = anypb.New(opts); err != nil {
		s.t.Fatal(err)
	}
	s.run(request)
	c, err := s.service.tasks.get("web")
	if err != nil {
		s.t.Fatal(err)
	}
	c.resources.mu.Lock()
	defer c.resources.mu.Unlock()
	c.resources.cgroup = group
	return group
}

func (s *shim) hasStats() bool {
	response, err := s.client.Stats(s.t.Context(), &taskapi.StatsRequest{ID: "web"})
	return err == nil && response.GetStats() != nil
}

// The statistics of a task that has exited can be read until the task is deleted. With the systemd
// driver the cgroup may be gone before.
func TestStatsAfterExit(t *testing.T) {
	for _, systemd := range []bool{false, true} {
		t.Run(fmt.Sprint("systemd ", systemd), func(t *testing.T) {
			s := newShim(t)
			group := s.withCgroup(systemd)
			s.kill("web")
			s.events.until(t, "/tasks/exit web 137")
			if systemd {
				group.Remove()
			}
			if !s.hasStats() {
				t.Error("no statistics after the exit")
			}
		})
	}
}

// A deletion in progress may have removed a part of the cgroup: statistics with missing values
// would look like counters that were reset.
func TestStatsDuringDeletion(t *testing.T) {
	s := newShim(t)
	s.withCgroup(false)
	s.kill("web")
	s.events.until(t, "/tasks/exit web 137")
	entered, open := s.root.Gate("delete")
	deleted := make(chan error)
	go func() {
		_, err := s.service.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
		deleted <- err
	}()
	entered()
	if s.hasStats() {
		t.Error("statistics were read during the deletion")
	}
	open()
	if err := <-deleted; err != nil {
		t.Error(err)
	}
}
