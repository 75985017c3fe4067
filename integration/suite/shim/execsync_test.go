// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/containerd/ttrpc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestExecSync is about the call by which the lite shim runs an ExecSync (decision 0019).
func TestExecSync(t *testing.T) {
	options := harness.FromEnv()
	if options.WithDefaults().Daemon != harness.Lite {
		t.Skip("stock containerd does not use the call")
	}
	options.Handler = harness.HandlerLite
	s := sharing{harness.OpenWith(t, options, image.Busybox), 1}
	for _, test := range []struct {
		name string
		run  func(*testing.T, sharing)
	}{
		{"same answers as through containerd", sameAnswers},
		{"daemon killed", daemonKilledInExec},
		{"shim killed", shimKilledInExec},
	} {
		s.NoLeaks(t, test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// sameAnswers compares the answers of the call with those through containerd's task service.
func sameAnswers(t *testing.T, s sharing) {
	pods := s.start(t, "answers", 2)
	refused := s.refuseExecSync(t, pods[1])
	for name, request := range map[string]*runtimeapi.ExecSyncRequest{
		"exit code":       {Cmd: []string{"sh", "-c", "cat; echo out; echo err >&2; exit 3"}},
		"signal":          {Cmd: []string{"sh", "-c", "kill -TERM $$"}},
		"environment":     {Cmd: []string{"env"}},
		"missing command": {Cmd: []string{"/missing"}},
		"no command":      {},
		"20 MB":           {Cmd: []string{"sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x"}},
		"20 MB of both":   {Cmd: []string{"sh", "-c", "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait"}},
		"timeout":         {Cmd: []string{"sh", "-c", "echo out; sleep 1000 & sleep 1000"}, Timeout: 1},
		"output held":     {Cmd: []string{"sh", "-c", "echo out; sleep 1000 & exit 4"}},
		"output held beyond the timeout": {
			Cmd: []string{"sh", "-c", "while :; do sleep 0.1; echo >&2; done & echo out; exit 5"}, Timeout: 2,
		},
	} {
		s.compare(t, name, pods, request)
	}
	for _, p := range pods {
		s.ctr(t, "tasks", "pause", p.container)
	}
	s.compare(t, "paused container", pods, &runtimeapi.ExecSyncRequest{Cmd: []string{"true"}})
	for _, p := range pods {
		s.ctr(t, "tasks", "resume", p.container)
		if _, err := s.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: p.container}); err != nil {
			t.Fatal(err)
		}
	}
	s.compare(t, "exited container", pods, &runtimeapi.ExecSyncRequest{Cmd: []string{"true"}})
	if n := refused.Load(); n != 1 {
		t.Errorf("the shim of an earlier release was asked %d times, want once", n)
	}
}

// compare runs a command in a container of each pod and compares the answers.
func (s sharing) compare(t *testing.T, name string, pods []pod, request *runtimeapi.ExecSyncRequest) {
	t.Helper()
	var answers [2]string
	for i, p := range pods {
		answers[i] = s.answer(t, p, request)
	}
	if diff := cmp.Diff(answers[1], answers[0]); diff != "" {
		t.Errorf("%s (-through containerd +in the shim):\n%s", name, diff)
	}
}

var ids = regexp.MustCompile(`[0-9a-f]{64}|answers-[01]`)

// answer returns the answer to a command as text, without what differs between containers.
func (s sharing) answer(t *testing.T, p pod, request *runtimeapi.ExecSyncRequest) string {
	t.Helper()
	request = &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: request.Cmd, Timeout: request.Timeout}
	answer, err := s.ExecSync(t.Context(), request)
	if err != nil {
		return ids.ReplaceAllString(fmt.Sprintf("%s: %s", status.Code(err), status.Convert(err).Message()), "ID")
	}
	// A command that is left behind writes empty lines without end.
	output := fmt.Sprintf("%q and %q", answer.Stdout, bytes.TrimRight(answer.Stderr, "\n"))
	if len(output) > 1000 {
		output = fmt.Sprintf("%d bytes and %d bytes", len(answer.Stdout), len(answer.Stderr))
	}
	return ids.ReplaceAllString(fmt.Sprintf("exit code %d, %s", answer.ExitCode, output), "ID")
}

func (s sharing) ctr(t *testing.T, args ...string) {
	t.Helper()
	if _, err := harness.Output(s.Ctr(t.Context(), append([]string{"-n", harness.Namespace}, args...)...)); err != nil {
		t.Fatal(err)
	}
}

// countingListener counts the connections that it accepts.
type countingListener struct {
	net.Listener
	accepted atomic.Int32
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// refuseExecSync makes the shim of a pod one of an earlier release: another server has its address
// and refuses every service. containerd has its connection to the shim already. refuseExecSync
// returns the number of connections to the server.
func (s sharing) refuseExecSync(t *testing.T, p pod) *atomic.Int32 {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	socket := s.Path("refuse.sock")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener := &countingListener{Listener: unix}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(context.Background(), listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	file := s.Path("state", "io.containerd.runtime.v2.task", harness.Namespace, p.container, "bootstrap.json")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var address map[string]any
	if err := json.Unmarshal(before, &address); err != nil {
		t.Fatal(err)
	}
	address["address"] = "unix://" + socket
	changed, err := json.Marshal(address)
	if err == nil {
		err = os.WriteFile(file, changed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &listener.accepted
}

// beginExec runs a command that runs until it is killed, and returns when its processes run.
func (s sharing) beginExec(t *testing.T, p pod) (result <-chan error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.ExecSync(context.Background(), &runtimeapi.ExecSyncRequest{
			ContainerId: p.container, Cmd: []string{"sh", "-c", "cat /dev/zero >/dev/null & cat /dev/zero >/dev/null"},
		})
		done <- err
	}()
	if err := s.AwaitProcesses(t.Context(), "cat", 2); err != nil {
		t.Fatal(err)
	}
	return done
}

// daemonKilledInExec kills the daemon: the shim kills the command, and the next daemon runs others.
func daemonKilledInExec(t *testing.T, s sharing) {
	p := s.start(t, "orphaned", 1)[0]
	result := s.beginExec(t, p)
	if err := s.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; status.Code(err) != codes.Unavailable {
		t.Errorf("ExecSync = %v", err)
	}
	if err := s.AwaitProcesses(t.Context(), "cat", 0); err != nil {
		t.Error(err)
	}
	if err := s.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.execute(t, p, execsOnce)
}

// shimKilledInExec kills the shim: the call returns, and its error says that the container has
// exited.
func shimKilledInExec(t *testing.T, s sharing) {
	p := s.start(t, "shimless", 1)[0]
	result := s.beginExec(t, p)
	shim, err := s.shimOf(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-result; status.Code(err) != codes.FailedPrecondition {
		t.Errorf("ExecSync = %v", err)
	}
	if err := s.AwaitProcesses(t.Context(), "cat", 0); err != nil {
		t.Error(err)
	}
}
