// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// upper writes stdin in upper case to stdout, a word to stderr, and exits with 7.
func upper(_ context.Context, opts container.ExecOptions) (uint32, error) {
	in, err := io.ReadAll(opts.Stdin)
	if err != nil {
		return 0, err
	}
	fmt.Fprint(opts.Stdout, strings.ToUpper(string(in)))
	fmt.Fprint(opts.Stderr, "warning")
	return 7, nil
}

var allStreams = &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"upper"}, Stdin: true, Stdout: true, Stderr: true}

func execURL(t *testing.T, s *Server, req *runtimeapi.ExecRequest) string {
	t.Helper()
	resp, err := s.Exec(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Url
}

func TestExecSPDY(t *testing.T) {
	secured, err := TLS("", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]Options{"http": {}, "https": {TLS: secured}} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, opts, fakeContainers{exec: upper}, nil)
			url := execURL(t, s, allStreams)
			if !strings.HasPrefix(url, name+"://127.0.0.1:") {
				t.Errorf("URL %s is not %s on the requested address", url, name)
			}
			streams := spdyStreams(t, dialSPDY(t, url, "v4.channel.k8s.io"), "error", "stdin", "stdout", "stderr")
			fmt.Fprint(streams["stdin"], "hello")
			streams["stdin"].Close()
			got := []string{readAll(t, streams["stdout"]), readAll(t, streams["stderr"]), readStatus(t, streams["error"]).exitCode()}
			if diff := cmp.Diff([]string{"HELLO", "warning", "7"}, got); diff != "" {
				t.Errorf("stdout, stderr, exit code (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExecWebSocket(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: func(_ context.Context, opts container.ExecOptions) (uint32, error) {
		in := make([]byte, 5)
		if _, err := io.ReadFull(opts.Stdin, in); err != nil {
			return 0, err
		}
		fmt.Fprint(opts.Stdout, strings.ToUpper(string(in)))
		return 300, nil
	}}, nil)
	conn := dialWebSocket(t, execURL(t, s, allStreams), "v4.channel.k8s.io")
	sendFrame(t, conn, 0, "hello")
	got, err := receiveAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got[1] != "HELLO" {
		t.Errorf("stdout %q, want HELLO", got[1])
	}
	if code := readStatus(t, strings.NewReader(got[3])).exitCode(); code != "300" {
		t.Errorf("exit code %s, want 300", code)
	}
}

// TestExecStreams checks that a command gets the requested streams only, not all that a client
// creates.
func TestExecStreams(t *testing.T) {
	var got container.ExecOptions
	s, _ := serve(t, Options{}, fakeContainers{exec: func(_ context.Context, opts container.ExecOptions) (uint32, error) {
		got = opts
		return 0, nil
	}}, nil)
	url := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"a", "b"}, Stdout: true})
	frames, err := receiveAll(dialWebSocket(t, url, "v4.channel.k8s.io"))
	if err != nil {
		t.Fatal(err)
	}
	if s := readStatus(t, strings.NewReader(frames[3])); s.Status != "Success" {
		t.Errorf("status %+v, want success", s)
	}
	if got.Stdin != nil || got.Stdout == nil || got.Stderr != nil || got.Terminal {
		t.Errorf("streams %+v, want stdout only", got)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.Command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestExecError(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: func(context.Context, container.ExecOptions) (uint32, error) {
		return 0, errors.New("container web: exec: no such command")
	}}, nil)
	streams := spdyStreams(t, dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io"), "error", "stdin", "stdout", "stderr")
	got := readStatus(t, streams["error"])
	if got.Status != "Failure" || got.Reason != "InternalError" || !strings.Contains(got.Message, "no such command") {
		t.Errorf("status %+v, want a failure with the cause", got)
	}
}

func TestTerminalSizes(t *testing.T) {
	sizes := make(chan container.Size)
	s, _ := serve(t, Options{}, fakeContainers{exec: func(ctx context.Context, opts container.ExecOptions) (uint32, error) {
		if !opts.Terminal {
			return 0, errors.New("no terminal")
		}
		for size := range opts.Resize {
			sizes <- size
		}
		return 0, ctx.Err()
	}}, nil)
	url := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Tty: true, Stdin: true, Stdout: true})
	streams := spdyStreams(t, dialSPDY(t, url, "v4.channel.k8s.io"), "error", "stdin", "stdout", "resize")
	for _, want := range []container.Size{{Width: 80, Height: 24}, {Width: 132, Height: 50}} {
		fmt.Fprintf(streams["resize"], `{"Width":0,"Height":9}{"Width":%d,"Height":%d}`, want.Width, want.Height)
		if got := <-sizes; got != want {
			t.Errorf("size %+v, want %+v", got, want)
		}
	}
	streams["resize"].Close()
	if s := readStatus(t, streams["error"]); s.Status != "Success" {
		t.Errorf("status %+v, want success", s)
	}
}

// TestTerminalSizesAreNotQueued checks that sizes are not queued for a container that does not read
// them.
func TestTerminalSizesAreNotQueued(t *testing.T) {
	from := make(chan remotecommand.TerminalSize)
	to := sizes(t.Context(), from)
	for i := range uint16(100) {
		from <- remotecommand.TerminalSize{Width: i + 1, Height: 1}
	}
	close(from)
	var last container.Size
	for last = range to {
	}
	if last.Width != 100 {
		t.Errorf("last size %+v, want the newest, 100 wide", last)
	}
}

// A terminal and an attach end when their client disconnects, even if the container is silent. A
// command without a terminal goes on until the server ends.
func TestClientDisconnects(t *testing.T) {
	ended := make(chan error, 1)
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	containers := fakeContainers{
		exec:   func(ctx context.Context, _ container.ExecOptions) (uint32, error) { return 0, wait(ctx) },
		attach: func(ctx context.Context, _ container.AttachOptions) error { return wait(ctx) },
	}
	terminal := func(s *Server) (string, error) {
		r, err := s.Exec(&runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Tty: true, Stdout: true})
		return r.GetUrl(), err
	}
	attach := func(s *Server) (string, error) {
		r, err := s.Attach(&runtimeapi.AttachRequest{ContainerId: "web", Stdout: true})
		return r.GetUrl(), err
	}
	pipe := func(s *Server) (string, error) {
		r, err := s.Exec(&runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Stdout: true})
		return r.GetUrl(), err
	}
	tests := []struct {
		name    string
		request func(*Server) (string, error)
		streams []string
		goesOn  bool
	}{
		{"terminal", terminal, []string{"error", "stdout", "resize"}, false},
		{"attach", attach, []string{"error", "stdout"}, false},
		{"command", pipe, []string{"error", "stdout"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, stop := serve(t, Options{}, containers, nil)
			url, err := tt.request(s)
			if err != nil {
				t.Fatal(err)
			}
			conn := dialSPDY(t, url, "v4.channel.k8s.io")
			spdyStreams(t, conn, tt.streams...)
			closeSPDY(conn)
			if tt.goesOn {
				stop()
			}
			<-ended
		})
	}
}

// TestCommandOutlivesClient checks that a command without a terminal is not cancelled when the
// connection ends.
func TestCommandOutlivesClient(t *testing.T) {
	gone, done := make(chan struct{}), make(chan error, 1)
	s, _ := serve(t, Options{}, fakeContainers{exec: func(ctx context.Context, opts container.ExecOptions) (uint32, error) {
		_, _ = io.Copy(io.Discard, opts.Stdin) // ends with the connection
		close(gone)
		done <- ctx.Err()
		return 0, nil
	}}, nil)
	url := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Stdin: true})
	conn := dialSPDY(t, url, "v4.channel.k8s.io")
	spdyStreams(t, conn, "error", "stdin")
	closeSPDY(conn)
	<-gone
	if err := <-done; err != nil {
		t.Errorf("the command was cancelled: %v", err)
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	started := make(chan struct{})
	s, stop := serve(t, Options{}, fakeContainers{attach: func(ctx context.Context, _ container.AttachOptions) error {
		close(started)
		<-ctx.Done()
		return nil
	}}, nil)
	resp, err := s.Attach(&runtimeapi.AttachRequest{ContainerId: "web", Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	later := execURL(t, s, allStreams)
	conn := dialSPDY(t, resp.Url, "v4.channel.k8s.io")
	spdyStreams(t, conn, "error", "stdout")
	<-started
	stop()
	<-conn.CloseChan()
	if _, err := http.Get(later); err == nil {
		t.Error("the server still answers")
	}
}

// TestAbandonedRequestLeavesNothing checks that a client that disconnects during its request, or
// that never creates its streams, leaves nothing behind; see TestMain.
func TestAbandonedRequestLeavesNothing(t *testing.T) {
	s, err := New(Options{Address: "127.0.0.1", Port: "0"}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	if err != nil {
		t.Fatal(err)
	}
	s.creationTimeout = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()

	spdy := "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
	webSocket := "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: v9\r\nOrigin: http://localhost\r\n\r\n"
	for _, upgrade := range []string{spdy, webSocket} {
		for sent := range len(upgrade) + 1 {
			dialRaw(t, execURL(t, s, allStreams), upgrade[:sent]).Close()
		}
	}
	idle := dialRaw(t, execURL(t, s, allStreams), spdy)
	defer idle.Close()
	if _, err := io.Copy(io.Discard, idle); err != nil {
		t.Errorf("connection without streams: %v, want its end", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// dialRaw connects and sends the start of a request.
func dialRaw(t *testing.T, address, upgrade string) net.Conn {
	t.Helper()
	u, err := neturl.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n%s", u.Path, upgrade)
	return conn
}

func TestRequests(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{}, nil)
	exec := func(change func(*runtimeapi.ExecRequest)) error {
		r := &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Stdout: true}
		change(r)
		_, err := s.Exec(r)
		return err
	}
	attach := func(r *runtimeapi.AttachRequest) error {
		_, err := s.Attach(r)
		return err
	}
	tests := []struct {
		name string
		err  error
		want func(error) bool
	}{
		{"fine", exec(func(*runtimeapi.ExecRequest) {}), func(err error) bool { return err == nil }},
		{"no command", exec(func(r *runtimeapi.ExecRequest) { r.Cmd = nil }), errdefs.IsInvalidArgument},
		{"no stream", exec(func(r *runtimeapi.ExecRequest) { r.Stdout = false }), errdefs.IsInvalidArgument},
		{"terminal with stderr", exec(func(r *runtimeapi.ExecRequest) { r.Tty, r.Stderr = true, true }), errdefs.IsInvalidArgument},
		{"unknown container", exec(func(r *runtimeapi.ExecRequest) { r.ContainerId = "x" }), errdefs.IsNotFound},
		{"exited container", exec(func(r *runtimeapi.ExecRequest) { r.ContainerId = "old" }), errdefs.IsFailedPrecondition},
		{"attach", attach(&runtimeapi.AttachRequest{ContainerId: "web", Stdin: true}), func(err error) bool { return err == nil }},
		{"attach no stream", attach(&runtimeapi.AttachRequest{ContainerId: "web"}), errdefs.IsInvalidArgument},
		{"attach terminal with stderr", attach(&runtimeapi.AttachRequest{ContainerId: "web", Tty: true, Stderr: true}), errdefs.IsInvalidArgument},
		{"attach unknown container", attach(&runtimeapi.AttachRequest{ContainerId: "x", Stdin: true}), errdefs.IsNotFound},
		{"attach exited container", attach(&runtimeapi.AttachRequest{ContainerId: "old", Stdin: true}), errdefs.IsFailedPrecondition},
	}
	for _, tt := range tests {
		if !tt.want(tt.err) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
}

func TestURLs(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: func(context.Context, container.ExecOptions) (uint32, error) { return 0, nil }}, nil)
	code := func(method, url string) int {
		t.Helper()
		req, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	url := execURL(t, s, allStreams)
	for _, other := range []string{url + "x", strings.Replace(url, "/exec/", "/attach/", 1), s.endpoint.Load().url().String(), s.endpoint.Load().url().String() + "/exec/"} {
		if got := code(http.MethodGet, other); got != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", other, got)
		}
	}
	if got := code(http.MethodPut, url); got != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d, want 405", got)
	}
	if got := code(http.MethodGet, url); got != http.StatusBadRequest {
		t.Errorf("request without an upgrade: %d, want 400", got)
	}
	if _, got, err := tryDialSPDY(url, "v4.channel.k8s.io"); err == nil || got != http.StatusNotFound {
		t.Errorf("second use: %d, %v, want 404", got, err)
	}
}

func TestPendingStreamsAreLimited(t *testing.T) {
	var p pending
	for range maxPending {
		if _, err := p.add("exec", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.add("exec", nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("one more stream: %v, want resource exhausted", err)
	}
	for path, stream := range p.streams { // a minute later
		stream.expires = stream.expires.Add(-urlTimeout)
		p.streams[path] = stream
		if _, ok := p.take(path); ok {
			t.Fatal("an expired stream was served")
		}
		break
	}
	for path, stream := range p.streams {
		stream.expires = stream.expires.Add(-urlTimeout)
		p.streams[path] = stream
	}
	if _, err := p.add("exec", nil); err != nil {
		t.Errorf("after a minute: %v", err)
	}
	if len(p.streams) != 1 {
		t.Errorf("%d streams are left, want the new one", len(p.streams))
	}
}

func TestDefaultAddress(t *testing.T) {
	if ip := net.ParseIP(defaultAddress()); ip == nil || ip.IsUnspecified() {
		t.Errorf("default address %q cannot be in a URL", defaultAddress())
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	if _, err := New(Options{Address: "127.0.0.1", Port: port}, nil, nil); err == nil || !strings.Contains(err.Error(), "stream_server_port") {
		t.Errorf("New: %v, want an error that names the keys", err)
	}
}
