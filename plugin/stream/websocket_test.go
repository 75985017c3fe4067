// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// endChannel closes a channel for writing, as clients of v5 do.
func endChannel(t *testing.T, conn *websocket.Conn, channel byte) {
	t.Helper()
	if err := websocket.Message.Send(conn, []byte{255, channel}); err != nil {
		t.Fatal(err)
	}
}

// TestExecV5 checks that a command gets the end of its stdin, and that its later output arrives.
func TestExecV5(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, nil)
	conn := dialWebSocket(t, execURL(t, s, allStreams), "v5.channel.k8s.io")
	sendFrame(t, conn, 0, "hel")
	sendFrame(t, conn, 0, "lo")
	endChannel(t, conn, 0)
	got, err := receiveAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	code := readStatus(t, strings.NewReader(got[3])).exitCode()
	if diff := cmp.Diff([]string{"HELLO", "warning", "7"}, []string{got[1], got[2], code}); diff != "" {
		t.Errorf("stdout, stderr, exit code (-want +got):\n%s", diff)
	}
}

func TestExecV5Outcome(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want status
	}{
		{"success", nil, status{Status: "Success"}},
		{"error", errors.New("no such command"), status{Status: "Failure", Reason: "InternalError", Message: "no such command"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := serve(t, Options{}, fakeContainers{exec: func(context.Context, container.ExecOptions) (uint32, error) {
				return 0, tt.err
			}}, nil)
			got, err := receiveAll(dialWebSocket(t, execURL(t, s, allStreams), "v5.channel.k8s.io"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, readStatus(t, strings.NewReader(got[3]))); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTerminalSizesV5(t *testing.T) {
	taken := make(chan container.Size)
	s, _ := serve(t, Options{}, fakeContainers{exec: func(_ context.Context, opts container.ExecOptions) (uint32, error) {
		if !opts.Terminal || opts.Stderr != nil {
			return 0, fmt.Errorf("terminal %v, stderr %v", opts.Terminal, opts.Stderr)
		}
		for size := range opts.Resize {
			taken <- size
		}
		return 0, nil
	}}, nil)
	url := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Tty: true, Stdin: true, Stdout: true})
	conn := dialWebSocket(t, url, "v5.channel.k8s.io")
	want := container.Size{Width: 132, Height: 50}
	sendFrame(t, conn, 4, `{"Width":132,"Height":50}`)
	if got := <-taken; got != want {
		t.Errorf("size %+v, want %+v", got, want)
	}
	endChannel(t, conn, 4)
	got, err := receiveAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if s := readStatus(t, strings.NewReader(got[3])); s.Status != "Success" {
		t.Errorf("status %+v, want success", s)
	}
}

// echo copies stdin to stdout until stdin ends.
func echo(_ context.Context, opts container.AttachOptions) error {
	_, err := io.Copy(opts.Stdout, opts.Stdin)
	return err
}

// TestAttachTransports attaches over SPDY and WebSocket to one container at the same time. Each
// client gets its own data.
func TestAttachTransports(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{attach: echo}, nil)
	url := func() string {
		resp, err := s.Attach(&runtimeapi.AttachRequest{ContainerId: "web", Stdin: true, Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Url
	}
	streams := spdyStreams(t, dialSPDY(t, url(), "v4.channel.k8s.io"), "error", "stdin", "stdout")
	conn := dialWebSocket(t, url(), "v5.channel.k8s.io")
	var clients sync.WaitGroup
	clients.Go(func() {
		fmt.Fprint(streams["stdin"], "over spdy")
		streams["stdin"].Close()
		if got, err := io.ReadAll(streams["stdout"]); err != nil || string(got) != "over spdy" {
			t.Errorf("SPDY: %q, %v", got, err)
		}
	})
	sendFrame(t, conn, 0, "over websocket")
	endChannel(t, conn, 0)
	got, err := receiveAll(conn)
	if err != nil || got[1] != "over websocket" {
		t.Errorf("WebSocket: %q, %v", got, err)
	}
	clients.Wait()
}

// TestTerminalV5ClientDisconnects checks that a command with a terminal is cancelled when its
// client disconnects.
func TestTerminalV5ClientDisconnects(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	s, _ := serve(t, Options{}, fakeContainers{exec: func(ctx context.Context, _ container.ExecOptions) (uint32, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}}, nil)
	url := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"sh"}, Tty: true, Stdin: true, Stdout: true})
	conn := dialWebSocket(t, url, "v5.channel.k8s.io")
	<-started
	conn.Close()
	<-ended
}

// dialTunnel connects with SPDY through a WebSocket, as kubectl port-forward does.
func dialTunnel(t *testing.T, address string) httpstream.Connection {
	t.Helper()
	conn := dialWebSocket(t, address, "SPDY/3.1+portforward.k8s.io")
	tunnel, err := spdy.NewClientConnection(tunnelConn{conn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSPDY(tunnel) })
	return tunnel
}

// TestPortForwardTunnel forwards two connections through one tunnel and one connection without a
// tunnel.
func TestPortForwardTunnel(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	port := listen(t, "", "127.0.0.1:0", echoAfterEOF)
	tunnel := dialTunnel(t, forwardURL(t, s))
	for name, conn := range map[string]httpstream.Connection{
		"tunnel": tunnel,
		"again":  tunnel,
		"spdy":   dialSPDY(t, forwardURL(t, s), protocolPortForward),
	} {
		data, errs := forwardSPDY(t, conn, port)
		fmt.Fprint(data, strings.Repeat(name, 100_000))
		data.Close()
		if got := readAll(t, data); got != "got "+strings.Repeat(name, 100_000) {
			t.Errorf("%s: %d bytes, want what was sent", name, len(got))
		}
		if got := readAll(t, errs); got != "" {
			t.Errorf("%s: error %q", name, got)
		}
	}
}

func TestPortForwardTunnelClientDisconnects(t *testing.T) {
	accepted, gone := make(chan struct{}), make(chan struct{})
	port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) {
		close(accepted)
		_, _ = io.Copy(io.Discard, conn)
		close(gone)
	})
	s, _ := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	tunnel := dialTunnel(t, forwardURL(t, s))
	forwardSPDY(t, tunnel, port)
	<-accepted
	closeSPDY(tunnel)
	<-gone
}

// TestWebSocketProtocols checks that an unknown protocol is rejected.
func TestWebSocketProtocols(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	for _, tt := range []struct{ url, protocol string }{
		{execURL(t, s, allStreams), "v6.channel.k8s.io"},
		{forwardURL(t, s, 80), "v5.channel.k8s.io"},
		{forwardURL(t, s), "SPDY/3.1+v9.portforward.k8s.io"},
	} {
		conn, err := websocket.Dial(strings.Replace(tt.url, "http", "ws", 1), tt.protocol, "http://localhost")
		if err == nil {
			conn.Close()
			t.Errorf("%s is accepted", tt.protocol)
		}
	}
}
