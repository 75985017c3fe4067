// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

func (s *shim) runToEnd(id string, args ...string) {
	s.t.Helper()
	s.run(s.request(id, true, args...))
	if _, err := s.client.Wait(s.t.Context(), &taskapi.WaitRequest{ID: id}); err != nil {
		s.t.Fatal(err)
	}
}

// A client whose first call was canceled gets the result of the same deletion when it calls again.
func TestDeleteIsJoined(t *testing.T) {
	s := newShim(t)
	s.runToEnd("web", "sh", "-c", "exit 7")
	entered, open := s.root.Gate("delete")
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := s.service.Delete(ctx, &taskapi.DeleteRequest{ID: "web"})
		gaveUp <- err
	}()
	entered()
	cancel()
	wantClass(t, errgrpc.ToGRPC(<-gaveUp), errdefs.IsCanceled, "canceled")
	joined := make(chan *taskapi.DeleteResponse)
	go func() {
		response, err := s.client.Delete(context.Background(), &taskapi.DeleteRequest{ID: "web"})
		if err != nil {
			t.Error(err)
		}
		joined <- response
	}()
	open()
	first := <-joined
	if first.GetExitStatus() != 7 {
		t.Errorf("Delete = %v, want status 7", first)
	}
	again, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
		t.Errorf("second answer (-first +second):\n%s", diff)
	}
	want := []string{"create web", "start web", "delete web"}
	if diff := cmp.Diff(want, s.root.Trace()); diff != "" {
		t.Errorf("runtime commands (-want +got):\n%s", diff)
	}
}

func TestDeleteRetryAfterError(t *testing.T) {
	s := newShim(t)
	s.runToEnd("web", "true")
	repair := s.root.Fail("delete", "device busy")
	_, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err == nil || !strings.Contains(err.Error(), "device busy") {
		t.Errorf("error = %v, want the runtime's error", err)
	}
	if got := s.status("web", ""); got != apitask.Status_STOPPED {
		t.Errorf("status = %v, want STOPPED", got)
	}
	repair()
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Error(err)
	}
}

func TestDeleteRunning(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	_, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
}

// A container that was never started is killed, and its exit is published.
func TestDeleteCreated(t *testing.T) {
	s := newShim(t)
	s.create(s.request("web", true, "true"))
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint32(128 + unix.SIGKILL); deleted.ExitStatus != want {
		t.Errorf("status = %d, want %d", deleted.ExitStatus, want)
	}
	want := []string{"/tasks/create", "/tasks/exit web 137", "/tasks/delete"}
	if diff := cmp.Diff(want, s.events.until(t, "/tasks/delete")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// The deletion succeeds if the runtime has lost its state.
func TestDeleteWithoutState(t *testing.T) {
	s := newShim(t)
	s.runToEnd("web", "true")
	if err := os.RemoveAll(filepath.Join(s.root.Options().Root, testNamespace, "web")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Error(err)
	}
}

// A container of runc whose cgroups are all that is left is deleted without the runtime.
func TestDeleteWithoutRuntime(t *testing.T) {
	s := newShim(t)
	opts, cgroup := s.root.Options(), filepath.Join(t.TempDir(), "web")
	program := filepath.Join(t.TempDir(), "runc")
	if err := errors.Join(os.Symlink(opts.BinaryName, program), os.Mkdir(cgroup, 0o700)); err != nil {
		t.Fatal(err)
	}
	opts.BinaryName = program
	request := s.request("web", true, "true")
	if err := request.Options.MarshalFrom(opts); err != nil {
		t.Fatal(err)
	}
	s.run(request)
	state := fmt.Sprintf(`{"cgroup_paths":{"pids":%q},"config":{"namespaces":[{"type":"NEWPID"}]}}`, cgroup)
	if err := os.WriteFile(filepath.Join(opts.Root, testNamespace, "web", "state.json"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	s.events.until(t, "/tasks/exit web 0")
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"create web", "start web"}, s.root.Trace()); diff != "" {
		t.Errorf("runtime commands (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(cgroup); !os.IsNotExist(err) || s.root.Knows(testNamespace, "web") {
		t.Errorf("cgroup: %v, state left: %v", err, s.root.Knows(testNamespace, "web"))
	}
}

// The delete command of a task whose shim still runs kills and deletes the task. If it was the last
// task, the shim retires.
func TestLeaveDeletesTask(t *testing.T) {
	for name, prepare := range map[string]func(s *shim, r *taskapi.CreateTaskRequest){
		"created": func(s *shim, r *taskapi.CreateTaskRequest) { s.create(r) },
		"running": func(s *shim, r *taskapi.CreateTaskRequest) {
			s.run(r)
			s.runExec(s.exec(r.ID, "probe", "sleep", "1000"))
		},
		"stopped": func(s *shim, r *taskapi.CreateTaskRequest) {
			s.run(r)
			s.kill(r.ID)
			s.events.until(s.t, "/tasks/exit web 137")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShim(t)
			prepare(s, s.request("web", false, "sleep", "1000"))
			client := s.dial()
			defer client.Close()
			err := client.Call(t.Context(), group.Service, group.Leave, &taskapi.ConnectRequest{ID: "web"}, &taskapi.ConnectResponse{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.client.State(t.Context(), &taskapi.StateRequest{ID: "web"})
			wantClass(t, err, errdefs.IsNotFound, "not found")
			s.events.until(t, "/tasks/delete")
			<-s.retired
		})
	}
}

// A new task with a reused id does not inherit the old result.
func TestReusedID(t *testing.T) {
	s := newShim(t)
	s.runToEnd("web", "sh", "-c", "exit 7")
	if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	repair := s.root.Fail("create", "no")
	if _, err := s.client.Create(t.Context(), s.request("web", true, "true")); err == nil {
		t.Fatal("Create succeeded")
	}
	repair()
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err != nil || deleted.ExitStatus != reap.StatusUnknown {
		t.Errorf("Delete of the task that was not created = %v, %v, want status %d", deleted, err, reap.StatusUnknown)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	for range 2 * maxHistory {
		h.add("web", "", &taskapi.DeleteResponse{})
	}
	h.add("db", "", &taskapi.DeleteResponse{Pid: 9})
	if len(h) != maxHistory {
		t.Errorf("%d results kept, want %d", len(h), maxHistory)
	}
	if got := h.find("db", ""); got.GetPid() != 9 {
		t.Errorf("latest result = %v", got)
	}
	h.drop("web")
	if len(h) != 1 || h.find("web", "") != nil {
		t.Errorf("%d results left after drop, want 1", len(h))
	}
}
