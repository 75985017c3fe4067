// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/events"
	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// containerd is a fake that accepts events, except those of the container refuse.
type containerd struct {
	path     string
	listener *listener
	server   *ttrpc.Server
	done     chan struct{}
	got      chan string
	refuse   string
}

// listener closes what it accepted, as the exit of a process does. ttrpc's Server.Close lets a
// connection read one more request.
type listener struct {
	net.Listener
	mu       sync.Mutex
	accepted []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.accepted = append(l.accepted, conn)
	}
	return conn, err
}

func (l *listener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.accepted {
		_ = conn.Close()
	}
	return err
}

func (c *containerd) Forward(_ context.Context, r *eventsapi.ForwardRequest) (*emptypb.Empty, error) {
	start := &events.TaskStart{}
	if err := r.Envelope.Event.UnmarshalTo(start); err != nil {
		return nil, err
	}
	if start.ContainerID == c.refuse {
		return nil, errgrpc.ToGRPC(fmt.Errorf("no: %w", errdefs.ErrInvalidArgument))
	}
	c.got <- fmt.Sprintf("%s %s %s %s", r.Envelope.Namespace, r.Envelope.Topic, r.Envelope.Event.TypeUrl, start.ContainerID)
	return &emptypb.Empty{}, nil
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func (c *containerd) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	if c.server, err = ttrpc.NewServer(); err != nil {
		t.Fatal(err)
	}
	eventsapi.RegisterTTRPCEventsService(c.server, c)
	c.listener = &listener{Listener: l}
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		_ = c.server.Serve(context.Background(), c.listener)
	}()
	t.Cleanup(c.stop)
}

func (c *containerd) stop() {
	_ = c.listener.Close()
	_ = c.server.Close()
	<-c.done
}

func newOutbox(t *testing.T, path string) *Outbox {
	t.Helper()
	o := New("ns", "unix://"+path)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return o
}

func line(id int) string { return fmt.Sprintf("ns /tasks/start containerd.events.TaskStart c%d", id) }

func put(o *Outbox, from, to int) {
	for i := from; i < to; i++ {
		o.Put(&events.TaskStart{ContainerID: fmt.Sprintf("c%d", i), Pid: uint32(i)})
	}
}

// expect fails the test unless the events arrive in order. An event whose response was lost with
// the connection can arrive twice.
func expect(t *testing.T, got <-chan string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		select {
		case g := <-got:
			if g == line(i-1) {
				i--
				continue
			}
			if g != line(i) {
				t.Fatalf("event = %q, want %q", g, line(i))
			}
		case <-time.After(time.Minute):
			t.Fatalf("event %d not delivered", i)
		}
	}
}

// Events arrive in order although containerd is not running at first and restarts later.
func TestOrderAcrossRestarts(t *testing.T) {
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	o := newOutbox(t, c.path)
	put(o, 0, 10)
	c.start(t)
	expect(t, c.got, 0, 10)
	c.stop()
	put(o, 10, 20)
	c.start(t)
	put(o, 20, 30)
	expect(t, c.got, 10, 30)
	if err := o.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if n := o.Len(); n != 0 {
		t.Errorf("%d events left, want 0", n)
	}
}

func TestFlushCanceled(t *testing.T) {
	o := New("ns", socket(t))
	if err := o.Flush(t.Context()); err != nil {
		t.Errorf("flush of an empty queue: %v", err)
	}
	put(o, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Flush(ctx); err == nil {
		t.Error("flush succeeded without containerd")
	}
}

// An event that containerd rejects does not block the others.
func TestRefusedEventIsDropped(t *testing.T) {
	c := &containerd{path: socket(t), got: make(chan string, 100), refuse: "c1"}
	c.start(t)
	o := newOutbox(t, c.path)
	put(o, 0, 3)
	expect(t, c.got, 0, 1)
	expect(t, c.got, 2, 3)
}

// A full queue keeps the exit events, and of the others the latest.
func TestFullQueue(t *testing.T) {
	o := New("ns", socket(t))
	o.Put(&events.TaskExit{ContainerID: "end"})
	put(o, 0, capacity+10)
	if n := o.Len(); n != capacity {
		t.Fatalf("%d events queued, want %d", n, capacity)
	}
	if got := o.queue[0].Topic; got != "/tasks/exit" {
		t.Errorf("first event = %s, want the exit", got)
	}
	last := &events.TaskStart{}
	if err := o.queue[capacity-1].Event.UnmarshalTo(last); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("c%d", capacity+9); last.ContainerID != want {
		t.Errorf("last event = %s, want %s", last.ContainerID, want)
	}
}

func TestTopics(t *testing.T) {
	want := map[string]string{}
	got := map[string]string{}
	for topic, event := range map[string]proto.Message{
		"/tasks/create":       &events.TaskCreate{},
		"/tasks/start":        &events.TaskStart{},
		"/tasks/exit":         &events.TaskExit{},
		"/tasks/delete":       &events.TaskDelete{},
		"/tasks/exec-added":   &events.TaskExecAdded{},
		"/tasks/exec-started": &events.TaskExecStarted{},
		"/tasks/oom":          &events.TaskOOM{},
		"/tasks/paused":       &events.TaskPaused{},
		"/tasks/resumed":      &events.TaskResumed{},
		"/tasks/checkpointed": &events.TaskCheckpointed{},
		"":                    &events.ContainerCreate{},
	} {
		name := string(event.ProtoReflect().Descriptor().Name())
		want[name], got[name] = topic, topicOf(event)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
}

// After a panic in a connection, the connection is given up and the event is sent over another one.
func TestPanicWhileSending(t *testing.T) {
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	c.start(t)
	o := New("ns", "unix://"+c.path)
	o.sender.client = &ttrpc.Client{}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	count := guard.Count()
	put(o, 0, 2)
	expect(t, c.got, 0, 2)
	if n := guard.Count() - count; n != 1 {
		t.Errorf("%d panics, want 1", n)
	}
}
