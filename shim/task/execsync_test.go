// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/execsync"
)

// syncCall is an ExecSync in progress, as the daemon sees it.
type syncCall struct {
	ttrpc.ClientStream
	client  *ttrpc.Client
	output  map[string][]byte // by name of the stream
	longest int               // bytes of the longest message
	code    uint32
}

func (s *shim) callSync(id, execID string, c execsync.Command) *syncCall {
	s.t.Helper()
	client := s.dial()
	s.t.Cleanup(func() { _ = client.Close() })
	request, err := c.Request(id, execID)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := client.NewStream(s.t.Context(), &ttrpc.StreamDesc{StreamingServer: true}, execsync.Service, execsync.MethodRun, request)
	if err != nil {
		s.t.Fatal(err)
	}
	return &syncCall{ClientStream: stream, client: client, output: map[string][]byte{}}
}

// next reads a message. The error is io.EOF after the last one.
func (c *syncCall) next() error {
	var m anypb.Any
	if err := c.RecvMsg(&m); err != nil {
		return err
	}
	if m.TypeUrl != execsync.Exited {
		c.longest = max(c.longest, len(m.Value))
		c.output[m.TypeUrl] = append(c.output[m.TypeUrl], m.Value...)
		return nil
	}
	var err error
	c.code, err = execsync.ParseExit(&m)
	return err
}

// all reads the answer to its end.
func (c *syncCall) all() error {
	for {
		if err := c.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// runSync runs a command to its end.
func (s *shim) runSync(id, execID string, args ...string) (*syncCall, error) {
	s.t.Helper()
	call := s.callSync(id, execID, execsync.Command{Args: args})
	return call, call.all()
}

// wantNoExec fails the test if a container has an exec, or a file of one is left.
func (s *shim) wantNoExec(id string) {
	s.t.Helper()
	c := s.container(id)
	if left := c.allExecs(); len(left) > 0 {
		s.t.Errorf("exec %s is left", left[0].execID)
	}
	entries, err := os.ReadDir(string(c.bundle))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "exec-") {
			s.t.Errorf("%s is left", e.Name())
		}
	}
}

// The command has the environment of the init. An exec of this kind has no events.
func TestExecSync(t *testing.T) {
	t.Setenv("OF_THE_INIT", "inherited")
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	call, err := s.runSync("web", "probe", "sh", "-c", "cat; echo $OF_THE_INIT; echo bad >&2; exit 3")
	if err != nil || call.code != 3 {
		t.Errorf("exit code %d, %v; want 3", call.code, err)
	}
	want := map[string][]byte{execsync.Stdout: []byte("inherited\n"), execsync.Stderr: []byte("bad\n")}
	if diff := cmp.Diff(want, call.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	s.discard("web")
	events := s.events.until(t, "/tasks/delete")
	if diff := cmp.Diff([]string{"/tasks/create", "/tasks/start", "/tasks/exit web 137", "/tasks/delete"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestExecSyncErrors(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	s.runExec(s.exec("web", "shell", "sleep", "1000"))
	for _, test := range []struct {
		task, execID string
		is           func(error) bool
		class        string
	}{
		{"unknown", "a", errdefs.IsNotFound, "not found"},
		{"web", "../a", errdefs.IsInvalidArgument, "invalid argument"},
		{"web", "shell", errdefs.IsAlreadyExists, "already exists"},
	} {
		_, err := s.runSync(test.task, test.execID, "true")
		wantClass(t, err, test.is, test.class)
	}
	repair := s.root.Fail("exec", "no such user")
	_, err := s.runSync("web", "b", "true")
	repair()
	if err == nil || !strings.Contains(err.Error(), "container web: exec b: OCI runtime exec failed: no such user") {
		t.Errorf("error = %v, want the runtime's error", err)
	}
	if _, err := s.client.Pause(t.Context(), &taskapi.PauseRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.runSync("web", "c", "true")
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
	if _, err := s.client.Resume(t.Context(), &taskapi.ResumeRequest{ID: "web"}); err != nil {
		t.Fatal(err)
	}
	if got := len(s.container("web").allExecs()); got != 1 {
		t.Errorf("%d execs, want the shell", got)
	}
}

// A holder runs no commands.
func TestExecSyncInHolder(t *testing.T) {
	s := newShim(t)
	r, _ := s.holderRequest("pod", "")
	s.create(r)
	_, err := s.runSync("pod", "a", "true")
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
}

// withChild prints the PIDs of its process and of a child of it.
var withChild = []string{"sh", "-c", "sleep 1000 & echo $$ $!; wait"}

// The shim kills a command, and the children in its process group, when the client closes the
// connection.
func TestExecSyncWithoutClient(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	call := s.callSync("web", "probe", execsync.Command{Args: withChild})
	if err := call.next(); err != nil {
		t.Fatal(err)
	}
	if err := call.client.Close(); err != nil {
		t.Fatal(err)
	}
	awaitAllGone(t, string(call.output[execsync.Stdout]))
}

// The shim kills a command when its time is over, even if the client keeps the connection.
func TestExecSyncTimeout(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	call := s.callSync("web", "probe", execsync.Command{Args: withChild, Timeout: time.Second})
	wantClass(t, call.all(), errdefs.IsDeadlineExceeded, "deadline exceeded")
	awaitAllGone(t, string(call.output[execsync.Stdout]))
	s.wantNoExec("web")
}

// awaitAllGone returns when the processes of a list of PIDs have exited.
func awaitAllGone(t *testing.T, list string) {
	t.Helper()
	for _, field := range strings.Fields(list) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		awaitGone(t, pid)
	}
}

// awaitGone returns when a process has exited.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(polled, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// A command whose client gives up during the start is killed after it, and nothing is left.
func TestExecSyncCanceledDuringStart(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	request, err := execsync.Command{Args: []string{"sleep", "1000"}}.Request("web", "late")
	if err != nil {
		t.Fatal(err)
	}
	entered, open := s.root.Gate("exec")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := s.service.execSync(ctx, request, func(proto.Message) error { return nil })
		result <- err
	}()
	entered()
	cancel()
	open()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
	s.wantNoExec("web")
	runs := len(s.root.Trace())
	if _, err := s.service.execSync(ctx, request, nil); !errors.Is(err, context.Canceled) || len(s.root.Trace()) > runs {
		t.Errorf("error = %v, runtime commands %q; want canceled without a start", err, s.root.Trace())
	}
}

// The exit code is sent although a process that was left behind holds the output. That process is
// not killed when the client closes the connection.
func TestExecSyncLeavesProcess(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	request, err := execsync.Command{Args: []string{"sh", "-c", "sleep 1000 & echo $!; exit 4"}}.Request("web", "probe")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	sent := map[string]string{}
	_, err = s.service.execSync(ctx, request, func(m proto.Message) error {
		mu.Lock()
		defer mu.Unlock()
		message := m.(*anypb.Any)
		sent[message.TypeUrl] += string(message.Value)
		if len(sent) == 2 {
			cancel() // as a client that has waited for long enough
		}
		return nil
	})
	if err != nil || sent[execsync.Exited] != "4" {
		t.Fatalf("messages %q, %v; want exit code 4", sent, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(sent[execsync.Stdout]))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the process that was left has exited: %v", err)
	}
	s.wantNoExec("web")
}

// The shim drops output beyond the limit of a stream, and the command continues. No message is
// longer than a chunk.
func TestExecSyncOutputLimit(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	call, err := s.runSync("web", "probe", "sh", "-c", "head -c 20000000 /dev/zero; echo done >&2; exit 5")
	if err != nil || call.code != 5 {
		t.Errorf("exit code %d, %v; want 5", call.code, err)
	}
	if n := len(call.output[execsync.Stdout]); n != execsync.MaxOutput || string(call.output[execsync.Stderr]) != "done\n" {
		t.Errorf("%d bytes, stderr %q; want %d bytes", n, call.output[execsync.Stderr], execsync.MaxOutput)
	}
	if call.longest != execsync.MaxChunk {
		t.Errorf("a message has %d bytes, want %d", call.longest, execsync.MaxChunk)
	}
}

// Pids and Kill of the Task API know the command while it runs.
func TestExecSyncInTaskAPI(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	call := s.callSync("web", "probe", execsync.Command{Args: []string{"sh", "-c", "echo; sleep 1000"}})
	if err := call.next(); err != nil { // it runs
		t.Fatal(err)
	}
	pids, err := s.client.Pids(t.Context(), &taskapi.PidsRequest{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	details := &options.ProcessDetails{}
	for _, p := range pids.Processes {
		if p.Info != nil {
			if err := p.Info.UnmarshalTo(details); err != nil {
				t.Fatal(err)
			}
		}
	}
	if details.ExecID != "probe" {
		t.Errorf("processes %v, want exec probe", pids)
	}
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", ExecID: "probe", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Error(err)
	}
	if err := call.all(); err != nil || call.code != 137 {
		t.Errorf("exit code %d, %v; want 137", call.code, err)
	}
	s.wantNoExec("web")
}

// A container that exits kills its command, whose client gets the exit code.
func TestExecSyncInContainerThatExits(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", false, "sleep", "1000"))
	call := s.callSync("web", "probe", execsync.Command{Args: []string{"sh", "-c", "echo; exec sleep 1000"}})
	if err := call.next(); err != nil { // it runs
		t.Fatal(err)
	}
	if _, err := s.client.Kill(t.Context(), &taskapi.KillRequest{ID: "web", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	if err := call.all(); err != nil || call.code != 137 {
		t.Errorf("exit code %d, %v; want 137", call.code, err)
	}
	s.events.until(t, "/tasks/exit web 137")
	_, err := s.runSync("web", "late", "true")
	wantClass(t, err, errdefs.IsFailedPrecondition, "failed precondition")
}

// A panic in the copying of the output kills the command, and nothing is left.
func TestPanicInExecSync(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	check := wantPanic(t, "web")
	request, err := execsync.Command{Args: []string{"sh", "-c", "echo; sleep 1000"}}.Request("web", "probe")
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	last, err := s.service.execSync(withContainerField(t.Context(), request), request, func(proto.Message) error {
		once.Do(func() { panic("boom") })
		return nil
	})
	if err != nil || string(last.(*anypb.Any).Value) != "137" {
		t.Errorf("result = %v, %v; want exit code 137", last, err)
	}
	check()
	s.wantNoExec("web")
	s.wantUsable("web")
}

// An exec that panics is removed, and a process that it has is killed.
func TestEndExec(t *testing.T) {
	s := newShim(t)
	s.run(s.request("web", true, "sleep", "1000"))
	c := s.container("web")
	for _, start := range []bool{true, false} {
		e, err := c.newSyncExec("probe", []string{"sleep", "1000"}, [2]*output{newOutput("", nil), newOutput("", nil)})
		if err == nil {
			err = c.addExec(e)
		}
		if err == nil && start {
			_, err = e.start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		c.endExec(e)
		if start {
			<-e.done
		}
		s.wantNoExec("web")
	}
}
