// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// The client of a command that panics gets an error, over every protocol, and the next command
// runs.
func TestPanicInACommand(t *testing.T) {
	var panics atomic.Bool
	s, _ := serve(t, Options{}, fakeContainers{
		exec: func(ctx context.Context, opts container.ExecOptions) (uint32, error) {
			if panics.Load() {
				panic("boom")
			}
			return upper(ctx, opts)
		},
		attach: func(context.Context, container.AttachOptions) error { panic("boom") },
	}, nil)
	panics.Store(true)
	streams := spdyStreams(t, dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io"), "error", "stdin", "stdout", "stderr")
	if got := readStatus(t, streams["error"]); got.Status != "Failure" || !strings.Contains(got.Message, "panic: boom") {
		t.Errorf("SPDY: %+v", got)
	}
	for _, protocol := range []string{"v4.channel.k8s.io", "v5.channel.k8s.io"} {
		attach, err := s.Attach(&runtimeapi.AttachRequest{ContainerId: "web", Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		for verb, url := range map[string]string{"exec": execURL(t, s, allStreams), "attach": attach.Url} {
			frames, err := receiveAll(dialWebSocket(t, url, protocol))
			if err != nil {
				t.Fatal(err)
			}
			if got := readStatus(t, strings.NewReader(frames[3])); got.Status != "Failure" || !strings.Contains(got.Message, "panic: boom") {
				t.Errorf("%s over %s: %+v", verb, protocol, got)
			}
		}
	}
	panics.Store(false)
	streams = spdyStreams(t, dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io"), "error", "stdin", "stdout", "stderr")
	streams["stdin"].Close()
	if got := readStatus(t, streams["error"]).exitCode(); got != "7" {
		t.Errorf("the next command: exit code %s", got)
	}
}

// badPods is fakePods that panics on demand.
type badPods struct {
	fakePods
	panics atomic.Bool
}

func (b *badPods) Get(id string) (*pod.Record, error) {
	if b.panics.Load() {
		panic("boom")
	}
	return b.fakePods.Get(id)
}

// The library forwards ports in its own goroutines.
func TestPanicInAPortForward(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{}, nil)
	pods := &badPods{fakePods: fakePods{"p": newPod(pod.Ready, hostNetwork)}}
	s.pods = pods
	port := listen(t, "", "127.0.0.1:0", echoAfterEOF)
	url, next := forwardURL(t, s), forwardURL(t, s)
	pods.panics.Store(true)
	_, errs := forwardSPDY(t, dialSPDY(t, url, protocolPortForward), port)
	if got := readAll(t, errs); !strings.Contains(got, "panic: boom") {
		t.Errorf("error %q, want the panic", got)
	}
	pods.panics.Store(false)
	data, _ := forwardSPDY(t, dialSPDY(t, next, protocolPortForward), port)
	if _, err := io.WriteString(data, "hello"); err != nil {
		t.Fatal(err)
	}
	data.Close()
	if got := readAll(t, data); got != "got hello" {
		t.Errorf("the next connection: %q", got)
	}
}

// badStream panics in Read or in Write.
type badStream struct{ read, write bool }

func (b badStream) Read([]byte) (int, error) {
	if b.read {
		panic("read")
	}
	return 0, io.EOF
}

func (b badStream) Write(p []byte) (int, error) {
	if b.write {
		panic("write")
	}
	return len(p), nil
}

func (badStream) Close() error { return nil }

// A panic in one direction of a forwarded connection ends both directions.
func TestPanicInASplice(t *testing.T) {
	port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "hello") })
	for _, stream := range []badStream{{read: true}, {write: true}} {
		conn, err := dialLoopback(t.Context(), int32(port))
		if err != nil {
			t.Fatal(err)
		}
		if err := splice(t.Context(), stream, conn); !errdefs.IsInternal(err) {
			t.Errorf("%+v: splice = %v, want Internal", stream, err)
		}
		if _, err := conn.Write([]byte("a")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%+v: the connection is not closed: %v", stream, err)
		}
	}
}

// A handler that panics returns status 500 if the connection is not hijacked, and closes the
// connection in any case.
func TestPanicInAHandler(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{}, nil)
	before := guard.Count()
	url, err := s.register("exec", func(http.ResponseWriter, *http.Request) { panic("boom") })
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", resp.StatusCode)
	}
	url, err = s.register("exec", func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
			t.Error(err)
		}
		panic("boom")
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := dialRaw(t, url, "\r\n")
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || len(got) != 0 {
		t.Errorf("after the panic: %q, %v, want the end of the connection", got, err)
	}
	if n := guard.Count() - before; n != 2 {
		t.Errorf("%d panics counted, want 2", n)
	}
}
