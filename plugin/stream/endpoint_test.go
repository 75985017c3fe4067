// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"k8s.io/streaming/pkg/httpstream"
)

// exchange runs the command upper over a stream that is open already.
func exchange(t *testing.T, conn httpstream.Connection) {
	t.Helper()
	streams := spdyStreams(t, conn, "error", "stdin", "stdout", "stderr")
	fmt.Fprint(streams["stdin"], "hello")
	streams["stdin"].Close()
	if got := readAll(t, streams["stdout"]); got != "HELLO" {
		t.Errorf("stdout %q, want HELLO", got)
	}
}

// TestPrepare checks that streams in progress and URLs that were returned before work after a
// change of the address, and that later URLs have the new one.
func TestPrepare(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, nil)
	open := dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io")
	before := execURL(t, s, allStreams)
	apply, err := s.Prepare(Options{Address: "127.0.0.2", Port: "0", IdleTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	apply()
	after := execURL(t, s, allStreams)
	if !strings.HasPrefix(after, "http://127.0.0.2:") {
		t.Errorf("URL after the change: %s", after)
	}
	exchange(t, open)
	exchange(t, dialSPDY(t, before, "v4.channel.k8s.io"))
	exchange(t, dialSPDY(t, after, "v4.channel.k8s.io"))
}

// TestPrepareTLS checks that the certificate, and TLS itself, can change on the same port.
func TestPrepareTLS(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, nil)
	secured, err := TLS("", "")
	if err != nil {
		t.Fatal(err)
	}
	host := s.endpoint.Load().url().Host
	for _, tt := range []struct {
		opts Options
		want string
	}{{Options{TLS: secured}, "https://"}, {Options{}, "http://"}} {
		tt.opts.Address, tt.opts.Port = "127.0.0.1", "0"
		apply, err := s.Prepare(tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		apply()
		url := execURL(t, s, allStreams)
		if !strings.HasPrefix(url, tt.want+host) {
			t.Errorf("URL %s, want %s%s", url, tt.want, host)
		}
		exchange(t, dialSPDY(t, url, "v4.channel.k8s.io"))
	}
}

// TestPrepareRejects checks that an address in use changes nothing.
func TestPrepareRejects(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, nil)
	if _, err := s.Prepare(Options{Address: "127.0.0.1", Port: port}); err == nil {
		t.Error("no error for a port in use")
	}
	exchange(t, dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io"))
}

// TestRetire checks that the former listener is closed, and the server goes on.
func TestRetire(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{exec: upper}, nil)
	former := s.endpoint.Load()
	apply, err := s.Prepare(Options{Address: "127.0.0.2", Port: "0"})
	if err != nil {
		t.Fatal(err)
	}
	apply()
	former.retire()
	if conn, err := net.Dial("tcp", former.url().Host); err == nil {
		_, err := conn.Read(make([]byte, 1))
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the former address still accepts connections")
		}
		conn.Close()
	}
	exchange(t, dialSPDY(t, execURL(t, s, allStreams), "v4.channel.k8s.io"))
}
