// SPDX-License-Identifier: Apache-2.0

package task

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// logged returns a request for a task whose output goes to the log at path.
func (s *shim) logged(id, path string, args ...string) *taskapi.CreateTaskRequest {
	s.t.Helper()
	r := s.request(id, true, args...)
	r.Stdout = containerlog.Destination{Dir: filepath.Dir(path), Name: filepath.Base(path)}.URI()
	r.Stderr = r.Stdout
	return r
}

// follow returns a stream of the output that follows.
func (s *shim) follow(id, output string) (ttrpc.ClientStream, error) {
	s.t.Helper()
	client := s.dial()
	s.t.Cleanup(func() { _ = client.Close() })
	stream, err := client.NewStream(s.t.Context(), &ttrpc.StreamDesc{StreamingServer: true},
		containerlog.Service, output, &taskapi.ConnectRequest{ID: id})
	if err != nil {
		return nil, err
	}
	return stream, stream.RecvMsg(&wrapperspb.BytesValue{})
}

func (s *shim) reopenLog(id string) error {
	client := s.dial()
	defer client.Close()
	return client.Call(s.t.Context(), containerlog.Service, containerlog.MethodReopen, &taskapi.ConnectRequest{ID: id}, &emptypb.Empty{})
}

// The log is complete when Wait returns.
func TestLogBeforeExit(t *testing.T) {
	s := newShim(t)
	path := filepath.Join(t.TempDir(), "0.log")
	s.run(s.logged("web", path, "sh", "-c", "seq 10000; echo last >&2"))
	if _, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "\n"); n != 10001 || !strings.Contains(string(log), " stderr F last\n") {
		t.Errorf("%d records at the exit, want 10001 with the last one", n)
	}
}

func TestFollowAndReopen(t *testing.T) {
	s := newShim(t)
	path := filepath.Join(t.TempDir(), "0.log")
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(s.logged("web", path, "sh", "-c", "read go <"+gate+"; echo hello"))
	stream, err := s.follow("web", containerlog.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.reopenLog("web"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got wrapperspb.BytesValue
	if err := stream.RecvMsg(&got); err != nil || string(got.Value) != "hello\n" {
		t.Errorf("followed %q, %v", got.Value, err)
	}
	if err := stream.RecvMsg(&got); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %q, %v; want EOF", got.Value, err)
	}
	if _, err := s.client.Wait(t.Context(), &taskapi.WaitRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(log), " stdout F hello\n") {
		t.Errorf("new log has %q, %v", log, err)
	}
}

func TestFollowWithoutLog(t *testing.T) {
	s := newShim(t)
	_, err := s.follow("unknown", containerlog.Stdout)
	wantClass(t, err, errdefs.IsNotFound, "not found")
	wantClass(t, s.reopenLog("unknown"), errdefs.IsNotFound, "not found")

	s.run(s.request("web", true, "sleep", "1000"))
	_, err = s.follow("web", containerlog.Stderr)
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	wantClass(t, s.reopenLog("web"), errdefs.IsFailedPrecondition, "failed precondition")
}

// broken is a stream whose RecvMsg panics.
type broken struct{ ttrpc.StreamServer }

func (broken) RecvMsg(any) error { panic("boom") }

func TestPanicInFollow(t *testing.T) {
	s := newShim(t)
	_, err := s.service.follow("stdout").Handler(t.Context(), broken{})
	wantClass(t, err, errdefs.IsInternal, "internal")
}
