// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/reap"
)

func TestTaskLifecycle(t *testing.T) {
	s := newShim(t)
	r := s.request("web", true, "sh", "-c", "exit 7")
	created, err := s.client.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.status("web", ""); got != apitask.Status_CREATED {
		t.Errorf("status = %v, want CREATED", got)
	}
	started, err := s.client.Start(t.Context(), &taskapi.StartRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if created.Pid == 0 || started.Pid != created.Pid {
		t.Errorf("process %d started, %d created", started.Pid, created.Pid)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if waited.ExitStatus != 7 || waited.ExitedAt == nil {
		t.Errorf("Wait = %v, want status 7 and a time", waited)
	}
	if exit := readExit(t, r.Bundle); exit.Status != 7 || exit.Pid != int(created.Pid) {
		t.Errorf("exit.json = %+v, want status 7 of process %d", exit, created.Pid)
	}
	if got := s.status("web", ""); got != apitask.Status_STOPPED {
		t.Errorf("status = %v, want STOPPED", got)
	}
	deleted, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if deleted.ExitStatus != 7 || deleted.Pid != created.Pid {
		t.Errorf("Delete = %v, want status 7 of process %d", deleted, created.Pid)
	}
	_, err = s.client.State(t.Context(), &taskapi.StateRequest{ID: "web"})
	wantClass(t, err, errdefs.IsNotFound, "not found")

	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit web 7", "/tasks/delete"}
	if diff := cmp.Diff(want, s.events.until(t, "/tasks/delete")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"create web", "start web", "delete web"}, s.root.Trace()); diff != "" {
		t.Errorf("runtime commands (-want +got):\n%s", diff)
	}
}

func readExit(t *testing.T, bundle string) (exit struct{ Status, Pid int }) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(bundle, "exit.json"))
	if err == nil {
		err = json.Unmarshal(data, &exit)
	}
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// Each task that is created is reported to the host, which then knows that the shim is not idle.
func TestCreatedIsReported(t *testing.T) {
	s := newShim(t)
	for _, id := range []string{"web", "db"} {
		s.create(s.request(id, true, "sleep", "1000"))
		select {
		case <-s.created:
		default:
			t.Errorf("task %s was created and not reported", id)
		}
	}
}

func TestVersion2Name(t *testing.T) {
	s := newShim(t)
	client := s.dial()
	defer client.Close()
	response := &taskapi.ConnectResponse{}
	err := client.Call(t.Context(), "containerd.task.v2.Task", "Connect", &taskapi.ConnectRequest{ID: "any"}, response)
	if err != nil {
		t.Fatal(err)
	}
	if int(response.ShimPid) != os.Getpid() {
		t.Errorf("shim pid = %d, want %d", response.ShimPid, os.Getpid())
	}
}

func TestUnknownMethod(t *testing.T) {
	s := newShim(t)
	client := s.dial()
	defer client.Close()
	err := client.Call(t.Context(), "containerd.task.v3.Task", "Levitate", &taskapi.ConnectRequest{}, &taskapi.ConnectResponse{})
	wantClass(t, err, errdefs.IsNotImplemented, "not implemented")
}

// TaskStart precedes TaskExit even if the process exits at once.
func TestStartEventPrecedesExitEvent(t *testing.T) {
	s := newShim(t)
	for i := range 20 {
		id := fmt.Sprintf("t%d", i)
		s.run(s.request(id, true, "true"))
		if _, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		events := s.events.until(t, fmt.Sprintf("/tasks/exit %s 0", id))
		if diff := cmp.Diff([]string{"/tasks/create", "/tasks/start"}, events[len(events)-3:len(events)-1]); diff != "" {
			t.Fatalf("before the exit (-want +got):\n%s", diff)
		}
		if _, err := s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		s.events.until(t, "/tasks/delete")
	}
}

func TestKill(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGTERM)}); err != nil {
		t.Fatal(err)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint32(128 + unix.SIGTERM); waited.ExitStatus != want {
		t.Errorf("status = %d, want %d", waited.ExitStatus, want)
	}
	_, err = s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGTERM)})
	wantClass(t, err, errdefs.IsNotFound, "not found")
}

// When containerd restarts, it deletes a task without processes.
func TestPidsOfStoppedTask(t *testing.T) {
	s := newShim(t)
	pid := s.run(s.request("web", true, "true"))
	if _, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	pids, err := s.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pids.Processes) != 1 || pids.Processes[0].Pid != pid {
		t.Errorf("processes = %v, want the init %d", pids.Processes, pid)
	}
}

func TestWaitCanceled(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.service.Wait(ctx, &taskapi.WaitRequest{ID: "web"})
	wantClass(t, errgrpc.ToGRPC(err), errdefs.IsCanceled, "canceled")
}

func TestCreateTwice(t *testing.T) {
	s := newShim(t)
	s.create(s.request("web", true, "true"))
	_, err := s.client.Create(t.Context(), s.request("web", true, "true"))
	wantClass(t, err, errdefs.IsAlreadyExists, "already exists")
}

func TestCreateErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(*shim, *taskapi.CreateTaskRequest)
		is     func(error) bool
		want   string
	}{
		{
			name: "runtime fails",
			change: func(s *shim, _ *taskapi.CreateTaskRequest) {
				repair := s.root.Fail("create", "exec: \"nope\": executable file not found")
				s.t.Cleanup(repair)
			},
			is:   errdefs.IsUnknown,
			want: `container web: OCI runtime create failed: exec: "nope": executable file not found`,
		},
		{
			name: "no runtime",
			change: func(s *shim, r *taskapi.CreateTaskRequest) {
				opts := s.root.Options()
				opts.BinaryName = "no-such-runtime"
				r.Options, _ = anypb.New(opts)
			},
			is:   errdefs.IsFailedPrecondition,
			want: "set BinaryName",
		},
		{
			name:   "unknown options",
			change: func(_ *shim, r *taskapi.CreateTaskRequest) { r.Options.TypeUrl = "example.com/Unknown" },
			is:     errdefs.IsInvalidArgument,
			want:   `type "example.com/Unknown"`,
		},
		{
			name:   "unknown output scheme",
			change: func(_ *shim, r *taskapi.CreateTaskRequest) { r.Stdout = "gopher://nowhere/at-all" },
			is:     errdefs.IsInvalidArgument,
			want:   `scheme "gopher"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShim(t)
			r := s.request("web", true, "true")
			tt.change(s, r)
			_, err := s.client.Create(t.Context(), r)
			wantClass(t, err, tt.is, "another class")
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
			_, err = s.client.State(t.Context(), &taskapi.StateRequest{ID: "web"})
			wantClass(t, err, errdefs.IsNotFound, "not found")
			if s.root.Knows(testNamespace, "web") {
				t.Error("the runtime still has the container")
			}
			// containerd deletes a task that it could not create, and logs an error if that is not
			// successful.
			if _, err = s.client.Delete(t.Context(), &taskapi.DeleteRequest{ID: "web"}); err != nil {
				t.Errorf("Delete after that: %v", err)
			}
		})
	}
}

// A create whose client cancels it is rolled back and can be repeated.
func TestCreateCanceled(t *testing.T) {
	s := newShim(t)
	entered, open := s.root.Gate("create")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.service.Create(ctx, s.request("web", true, "true"))
		done <- err
	}()
	entered()
	cancel()
	wantClass(t, errgrpc.ToGRPC(<-done), errdefs.IsCanceled, "canceled")
	open()
	s.create(s.request("web", true, "true"))
}

// Queries are answered while an operation is in progress.
func TestQueriesDoNotBlock(t *testing.T) {
	s := newShim(t)
	r := s.request("web", true, "sleep", "1000")
	s.create(r)
	entered, open := s.root.Gate("start")
	started := make(chan error)
	go func() {
		_, err := s.client.Start(context.Background(), &taskapi.StartRequest{ID: "web"})
		started <- err
	}()
	entered()
	if got := s.status("web", ""); got != apitask.Status_CREATED {
		t.Errorf("status = %v, want CREATED", got)
	}
	if _, err := s.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "web"}); err != nil {
		t.Error(err)
	}
	if _, err := s.client.Connect(t.Context(), &taskapi.ConnectRequest{ID: "web"}); err != nil {
		t.Error(err)
	}
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: 0}); err != nil {
		t.Error(err)
	}
	open()
	if err := <-started; err != nil {
		t.Error(err)
	}
}

func TestPanicInCall(t *testing.T) {
	call := method(func(context.Context, *taskapi.StateRequest) (*taskapi.StateResponse, error) { panic("boom") })
	request := func(r any) error { r.(*taskapi.StateRequest).ID = "web"; return nil }
	broken := func(any) error { panic("boom") }
	for _, unmarshal := range []ttrpc.Unmarshaler{request, broken} {
		_, err := intercept(t.Context(), unmarshal, &ttrpc.UnaryServerInfo{FullMethod: "/x/y"}, call)
		wantClass(t, err, errdefs.IsInternal, "internal")
	}
}

func TestRuntimeOperations(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	ctx := t.Context()
	if _, err := s.client.Pause(ctx, &taskapi.PauseRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	if got := s.status("web", ""); got != apitask.Status_PAUSED {
		t.Errorf("status = %v, want PAUSED", got)
	}
	_, err := s.client.Pause(ctx, &taskapi.PauseRequest{ID: "web"})
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	_, err = s.client.Exec(ctx, s.exec("web", "e", "true"))
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	if _, err := s.client.Resume(ctx, &taskapi.ResumeRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	repair := s.root.Fail("pause", "no freezer")
	if _, err := s.client.Pause(ctx, &taskapi.PauseRequest{ID: "web"}); err == nil {
		t.Error("Pause succeeded without a freezer")
	}
	repair()
	if got := s.status("web", ""); got != apitask.Status_RUNNING {
		t.Errorf("status = %v, want RUNNING", got)
	}
	_, err = s.client.Update(ctx, &taskapi.UpdateTaskRequest{ID: "web", Resources: &anypb.Any{Value: []byte("{")}})
	wantClass(t, err, errdefs.IsInvalidArgument, "invalid argument")
	if _, err := s.client.Update(ctx, &taskapi.UpdateTaskRequest{ID: "web", Resources: &anypb.Any{Value: []byte("{}")}}); err != nil {
		t.Error(err)
	}
	if _, err := s.client.Checkpoint(ctx, &taskapi.CheckpointTaskRequest{ID: "web", Path: t.TempDir()}); err != nil {
		t.Error(err)
	}
	_, err = s.client.Stats(ctx, &taskapi.StatsRequest{ID: "web"})
	wantClass(t, err, errdefs.IsNotFound, "not found")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/paused", "/tasks/resumed", "/tasks/checkpointed"}
	if diff := cmp.Diff(want, s.events.until(t, "/tasks/checkpointed")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRestore(t *testing.T) {
	s := newShim(t)
	r := s.request("web", true, "sh", "-c", "exit 4")
	r.Checkpoint = t.TempDir()
	created, err := s.client.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if created.Pid != 0 {
		t.Errorf("process %d before the restore", created.Pid)
	}
	t.Cleanup(func() { s.discard("web") })
	if _, err := s.client.Start(t.Context(), &taskapi.StartRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	waited, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"})
	if err != nil || waited.ExitStatus != 4 {
		t.Errorf("Wait = %v, %v, want status 4", waited, err)
	}
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit web 4"}
	if diff := cmp.Diff(want, s.events.until(t, "/tasks/exit web 4")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// The streams belong to the root of the container, which opens /dev/stdout by name, unless the
// options set an owner.
func TestStreamOwner(t *testing.T) {
	for _, tt := range []struct {
		opts     *options.Options
		uid, gid int
	}{
		{&options.Options{}, 100000, 200000},
		{&options.Options{IoUid: 7, IoGid: 8}, 7, 8},
		{&options.Options{IoGid: 8}, 0, 8},
	} {
		bundle := t.TempDir()
		config := `{"linux": {"uidMappings": [{"containerID": 1, "hostID": 5, "size": 1}, {"containerID": 0, "hostID": 100000, "size": 1}],
			"gidMappings": [{"containerID": 0, "hostID": 200000, "size": 65536}]}}`
		if err := os.WriteFile(filepath.Join(bundle, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := anypb.New(tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newContainer(&Host{Children: reap.New()}, &taskapi.CreateTaskRequest{ID: "web", Bundle: bundle, Options: opts})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.owner(); got.UID != tt.uid || got.GID != tt.gid {
			t.Errorf("with %v: %d:%d, want %d:%d", tt.opts, got.UID, got.GID, tt.uid, tt.gid)
		}
	}
}

// A client opens its ends of the streams in the background. After a restore that was not
// successful, it waits for them to end before it deletes the task.
func TestRestoreError(t *testing.T) {
	s := newShim(t)
	r := s.request("web", true, "true")
	r.Checkpoint, r.Stdout = t.TempDir(), filepath.Join(t.TempDir(), "out")
	if err := unix.Mkfifo(r.Stdout, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := s.client.Create(ctx, r); err != nil { // does not wait for a reader of the output
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(r.Stdout)
		ended <- err
	}()
	repair := s.root.Fail("restore", "images are damaged")
	defer repair()
	_, err := s.client.Start(ctx, &taskapi.StartRequest{ID: "web"})
	if err == nil || !strings.Contains(err.Error(), "images are damaged") {
		t.Errorf("error = %v, want the runtime's error", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("output: %v", err)
	}
	if waited, err := s.client.Wait(ctx, &taskapi.WaitRequest{ID: "web"}); err != nil || waited.ExitStatus != reap.StatusUnknown {
		t.Errorf("Wait = %v, %v, want status %d", waited, err, reap.StatusUnknown)
	}
	if _, err := s.client.Delete(ctx, &taskapi.DeleteRequest{ID: "web"}); err != nil {
		t.Error(err)
	}
}
