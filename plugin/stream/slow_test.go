// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"io"
	"net"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
)

// A slow client that has not read everything when a command exits, and then sends data, gets the
// rest of the output and the exit code. kubectl sends data every five seconds to keep its
// connection.
func TestSlowClientGetsAllOutput(t *testing.T) {
	const size = 256 << 10
	request := &runtimeapi.ExecRequest{ContainerId: "web", Cmd: []string{"cat"}, Stdout: true}
	for _, tc := range []struct {
		name string
		dial func(t *testing.T, address string) (read func() (stdout string, s status))
	}{
		{"SPDY", slowSPDY},
		{"WebSocket v4", slowWebSocket("v4.channel.k8s.io")},
		{"WebSocket v5", slowWebSocket("v5.channel.k8s.io")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := make(chan struct{})
			s, _ := serve(t, Options{}, fakeContainers{exec: func(_ context.Context, opts container.ExecOptions) (uint32, error) {
				<-begin
				_, err := opts.Stdout.Write(make([]byte, size))
				return 7, err
			}}, nil)
			url, err := neturl.Parse(execURL(t, s, request))
			if err != nil {
				t.Fatal(err)
			}
			proxy := newPausingProxy(t, url.Host)
			url.Host = proxy.address
			read := tc.dial(t, url.String())
			proxy.pause()
			close(begin)
			proxy.awaitServerEnded(t)
			fmt.Fprint(proxy.server, "keep-alive")
			proxy.resume()
			stdout, ended := read()
			if len(stdout) != size || ended.exitCode() != "7" {
				t.Errorf("got %d bytes of %d, and exit code %q", len(stdout), size, ended.exitCode())
			}
		})
	}
}

func slowSPDY(t *testing.T, address string) (read func() (string, status)) {
	streams := spdyStreams(t, dialSPDY(t, address, "v4.channel.k8s.io"), "error", "stdout")
	return func() (string, status) { return readAll(t, streams["stdout"]), readStatus(t, streams["error"]) }
}

func slowWebSocket(protocol string) func(t *testing.T, address string) (read func() (string, status)) {
	return func(t *testing.T, address string) (read func() (string, status)) {
		conn := dialWebSocket(t, address, protocol)
		return func() (string, status) {
			channels, err := receiveAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			return channels[channelStdout], readStatus(t, strings.NewReader(channels[channelStatus]))
		}
	}
}

// pausingProxy is a connection to a server that can withhold the server's data from its client.
type pausingProxy struct {
	address string
	server  net.Conn
	paused  sync.Mutex // held while the proxy is paused
}

func newPausingProxy(t *testing.T, server string) *pausingProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	p := &pausingProxy{address: listener.Addr().String(), server: conn}
	var running sync.WaitGroup
	running.Go(func() {
		client, err := listener.Accept()
		listener.Close()
		if err != nil {
			return
		}
		running.Go(func() {
			_, _ = io.Copy(conn, client)
			conn.Close()
		})
		p.copyTo(client)
		client.Close()
	})
	t.Cleanup(func() {
		listener.Close()
		conn.Close()
		running.Wait()
	})
	return p
}

func (p *pausingProxy) pause()  { p.paused.Lock() }
func (p *pausingProxy) resume() { p.paused.Unlock() }

// copyTo copies from the server. A read that has begun before the pause is passed on.
func (p *pausingProxy) copyTo(client net.Conn) {
	buffer := make([]byte, 4096)
	for {
		p.paused.Lock()
		p.paused.Unlock() //nolint:staticcheck // it only waits for the end of a pause
		n, err := p.server.Read(buffer)
		if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// awaitServerEnded waits until the server has closed its half of the connection. The client cannot
// see that before it has read everything, so the state is read from /proc/net/tcp.
func (p *pausingProxy) awaitServerEnded(t *testing.T) {
	t.Helper()
	const finWait1 = "04"
	ours := p.server.LocalAddr().(*net.TCPAddr).Port
	server := p.server.RemoteAddr().(*net.TCPAddr).Port
	want := fmt.Sprintf(":%04X 0100007F:%04X %s ", server, ours, finWait1)
	for {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil || t.Context().Err() != nil {
			t.Fatalf("no %q in /proc/net/tcp: %v\n%s", want, err, table)
		}
		if strings.Contains(string(table), want) {
			return
		}
	}
}
