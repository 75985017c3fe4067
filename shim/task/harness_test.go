// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	apitask "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/oci/ocitest"
	"github.com/containerd-lite/containerd-lite/shim/outbox"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const testNamespace = "test"

func TestMain(m *testing.M) {
	ocitest.Main()
	if err := reap.BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// shim is a task service behind a ttrpc connection, with a fake OCI runtime and a fake containerd
// that accepts events.
type shim struct {
	t       *testing.T
	root    *ocitest.Root
	service *Service
	client  taskapi.TTRPCTaskService
	socket  string
	events  *recorder
	created chan struct{} // see Host
	retired chan struct{}
}

func newShim(t *testing.T) *shim {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s := &shim{t: t, root: ocitest.New(t), events: newRecorder(), created: make(chan struct{}, 1), retired: make(chan struct{})}
	sockets := shortDir(t)
	address := filepath.Join(sockets, "c")
	containerd := s.events.server(t)
	serve(ctx, t, &running, address, containerd)

	host := &Host{Namespace: testNamespace, Children: reap.New(), Events: outbox.New(testNamespace, address), Created: s.created}
	running.Go(func() { host.Children.Run(ctx) })
	running.Go(func() { host.Events.Run(ctx) })
	s.service = NewService(host, shimoption.Pod, func() { close(s.retired) })
	server, err := s.service.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	s.socket = filepath.Join(sockets, "s")
	serve(ctx, t, &running, s.socket, server)
	client := s.dial()
	s.client = taskapi.NewTTRPCTaskClient(client)
	t.Cleanup(func() {
		_ = client.Close()
		s.service.tasks.stopTimers()
		_ = server.Close()
		_ = containerd.Close()
		cancel()
		running.Wait()
	})
	return s
}

// stopTimers stops the timers of the registry, which would outlive the test.
func (g *registry) stopTimers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired = true
	for id := range g.expected {
		g.stopExpectingLocked(id)
	}
	for _, timer := range g.unanswered {
		timer.Stop()
	}
	if g.idle != nil {
		g.idle.Stop()
	}
}

func (s *shim) dial() *ttrpc.Client {
	s.t.Helper()
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	return ttrpc.NewClient(conn)
}

// shortDir returns a directory whose path leaves room for a socket name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func serve(ctx context.Context, t *testing.T, running *sync.WaitGroup, path string, server *ttrpc.Server) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = server.Serve(ctx, l) })
}

// recorder is a fake of containerd's events service that records the events.
type recorder struct {
	mu      sync.Mutex
	events  []string
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) server(t *testing.T) *ttrpc.Server {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	eventsapi.RegisterTTRPCEventsService(server, r)
	return server
}

// Forward implements the events service.
func (r *recorder) Forward(_ context.Context, req *eventsapi.ForwardRequest) (*emptypb.Empty, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, describe(req.Envelope.Topic, req.Envelope.Event))
	close(r.changed)
	r.changed = make(chan struct{})
	return &emptypb.Empty{}, nil
}

// describe returns the topic of an event, for an exit with the process id and the status.
func describe(topic string, event *anypb.Any) string {
	exit := &apievents.TaskExit{}
	if event.GetTypeUrl() == string(exit.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(event.Value, exit) == nil {
		return fmt.Sprintf("%s %s %d", topic, exit.ID, exit.ExitStatus)
	}
	return topic
}

// until waits until the latest event is the given one and returns all events.
func (r *recorder) until(t *testing.T, last string) []string {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		r.mu.Lock()
		events, changed := append([]string(nil), r.events...), r.changed
		r.mu.Unlock()
		if len(events) > 0 && events[len(events)-1] == last {
			return events
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no event %q after %q", last, events)
		}
	}
}

func (s *shim) request(id string, privatePids bool, args ...string) *taskapi.CreateTaskRequest {
	s.t.Helper()
	opts, err := anypb.New(s.root.Options())
	if err != nil {
		s.t.Fatal(err)
	}
	return &taskapi.CreateTaskRequest{ID: id, Bundle: s.root.Bundle(privatePids, args...), Options: opts}
}

// run creates and starts a task and returns its PID. The task is killed and deleted at the end of
// the test.
func (s *shim) run(r *taskapi.CreateTaskRequest) uint32 {
	s.t.Helper()
	s.create(r)
	started, err := s.client.Start(s.t.Context(), &taskapi.StartRequest{ID: r.ID})
	if err != nil {
		s.t.Fatal(err)
	}
	return started.Pid
}

func (s *shim) create(r *taskapi.CreateTaskRequest) {
	s.t.Helper()
	if _, err := s.client.Create(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.discard(r.ID) })
}

// discard kills and deletes a task in any state.
func (s *shim) discard(id string) {
	ctx := context.Background()
	_, _ = s.client.Kill(ctx, &taskapi.KillRequest{ID: id, Signal: uint32(unix.SIGKILL)})
	if state, err := s.client.State(ctx, &taskapi.StateRequest{ID: id}); err == nil && state.Status != apitask.Status_CREATED {
		_, _ = s.client.Wait(ctx, &taskapi.WaitRequest{ID: id})
	}
	_, _ = s.client.Delete(ctx, &taskapi.DeleteRequest{ID: id})
}

func (s *shim) exec(id, execID string, args ...string) *taskapi.ExecProcessRequest {
	s.t.Helper()
	spec, err := json.Marshal(&specs.Process{Args: args, Env: os.Environ(), Cwd: "/"})
	if err != nil {
		s.t.Fatal(err)
	}
	return &taskapi.ExecProcessRequest{ID: id, ExecID: execID, Spec: &anypb.Any{Value: spec}}
}

func (s *shim) runExec(r *taskapi.ExecProcessRequest) uint32 {
	s.t.Helper()
	if _, err := s.client.Exec(s.t.Context(), r); err != nil {
		s.t.Fatal(err)
	}
	started, err := s.client.Start(s.t.Context(), &taskapi.StartRequest{ID: r.ID, ExecID: r.ExecID})
	if err != nil {
		s.t.Fatal(err)
	}
	// The tests have no PID namespace in which the kernel would kill the exec with the init.
	s.t.Cleanup(func() {
		_, _ = s.client.Kill(context.Background(), &taskapi.KillRequest{ID: r.ID, ExecID: r.ExecID, Signal: uint32(unix.SIGKILL)})
	})
	return started.Pid
}

func (s *shim) status(id, execID string) apitask.Status {
	s.t.Helper()
	state, err := s.client.State(s.t.Context(), &taskapi.StateRequest{ID: id, ExecID: execID})
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Status
}

// outputFIFO returns the path of a FIFO and its end for reading.
func outputFIFO(t *testing.T) (path string, reader *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "out")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return path, reader
}

// wantClass fails the test unless the error of a call has the given class.
func wantClass(t *testing.T, err error, is func(error) bool, class string) {
	t.Helper()
	if !is(errgrpc.ToNative(err)) {
		t.Errorf("error = %v, want %s", err, class)
	}
}
