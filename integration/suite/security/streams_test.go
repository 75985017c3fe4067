// SPDX-License-Identifier: Apache-2.0

package security

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	spdyframe "github.com/moby/spdystream/spdy"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks by clients of the streaming server.

// repeats is how often an attack on a leak is repeated, so that a leak becomes visible.
const repeats = 40

// execURL returns the URL of an exec.
func (a *attack) execURL(id string, tty bool, command ...string) string {
	a.Helper()
	answer, err := a.Exec(a.ctx, &runtimeapi.ExecRequest{ContainerId: id, Cmd: command, Stdin: true, Stdout: true, Stderr: !tty, Tty: tty})
	if err != nil {
		a.Fatal(err)
	}
	return answer.Url
}

// dialSPDY connects as kubectl and crictl do.
func (a *attack) dialSPDY(address string) httpstream.Connection {
	a.Helper()
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	trip, err := spdy.NewRoundTripperWithProxy(nil, direct)
	if err != nil {
		a.Fatal(err)
	}
	q, err := http.NewRequestWithContext(a.ctx, http.MethodPost, address, nil)
	if err != nil {
		a.Fatal(err)
	}
	q.Header.Set(httpstream.HeaderProtocolVersion, "v4.channel.k8s.io")
	answer, err := trip.RoundTrip(q)
	if err != nil {
		a.Fatal(err)
	}
	conn, err := trip.NewConnection(answer)
	if err != nil {
		a.Fatalf("stream: %v", err)
	}
	return conn
}

// upgrade opens a connection, sends the head of a request and returns the connection.
func (a *attack) upgrade(address, head string) net.Conn {
	a.Helper()
	u, err := url.Parse(address)
	if err != nil {
		a.Fatal(err)
	}
	return a.send(address, fmt.Sprintf(head, u.RequestURI(), u.Host))
}

// send connects to the host of an address, writes text and returns the connection.
func (a *attack) send(address, text string) net.Conn {
	a.Helper()
	u, err := url.Parse(address)
	if err != nil {
		a.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(a.ctx, "tcp", u.Host)
	if err != nil {
		a.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		a.Fatal(err)
	}
	return conn
}

const (
	spdyHead      = "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
	webSocketHead = "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://localhost\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)

// c11 runs a missing program in a terminal, over both protocols.
func c11(a *attack) {
	id := a.pod(quick).sleeper()
	a.noLeakAfter(5, func() {
		for range repeats {
			conn := a.dialSPDY(a.execURL(id, true, "/absent"))
			for _, kind := range []string{"error", "stdin", "stdout", "resize"} {
				if _, err := conn.CreateStream(http.Header{"Streamtype": {kind}}); err != nil {
					a.Fatal(err)
				}
			}
			select {
			case <-conn.CloseChan():
			case <-time.After(time.Second): // the client disconnects first
			}
			conn.Close()
			ws := a.upgrade(a.execURL(id, true, "/absent"), webSocketHead)
			_ = ws.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(io.Discard, ws)
			ws.Close()
		}
	})
}

// c12 attaches to a container without output, and resets the connection.
func c12(a *attack) {
	p := a.pod(quick)
	id := p.start(p.container(image.Busybox, "exec sleep 10000", func(c *containerConfig) { c.Stdin = true }))
	a.noLeakAfter(5, func() {
		for i := range repeats {
			answer, err := a.Attach(a.ctx, &runtimeapi.AttachRequest{ContainerId: id, Stdin: i%2 == 0, Stdout: true, Stderr: true})
			if err != nil {
				a.Fatal(err)
			}
			head := spdyHead
			if i%3 == 0 {
				head = webSocketHead
			}
			conn := a.upgrade(answer.Url, head)
			if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				a.Fatal(err)
			}
			reset(conn)
		}
	})
}

// reset closes a connection with a TCP RST.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// c29 sends SPDY frames with a false, large size.
func c29(a *attack) {
	id := a.pod(quick).sleeper()
	frame := func(kind uint16, claimed uint32, body ...byte) []byte {
		f := binary.BigEndian.AppendUint16(nil, 0x8003)
		f = binary.BigEndian.AppendUint16(f, kind)
		return append(binary.BigEndian.AppendUint32(f, claimed), body...)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	syn := append(number(1), append(number(0), 0, 0)...)
	for name, sent := range map[string][]byte{
		"2^24 settings":       frame(4, 1<<24-1, number(1<<24)...),
		"2^31 settings":       frame(4, 12, number(1<<31)...),
		"headers of 2^31":     frame(1, 1<<24-1, append(syn, deflated(number(1<<31))...)...),
		"a header of 2^31":    frame(1, 1<<24-1, append(syn, deflated(append(number(1), number(1<<31)...))...)...),
		"headers of zeros":    bomb(),
		"garbage of headers":  frame(1, 1000, append(syn, make([]byte, 1000)...)...),
		"data without stream": append(number(77), number(1<<24-1)...),
		"unknown frame":       frame(99, 1<<24-1),
	} {
		a.growth(64, func() {
			conn := a.upgrade(a.execURL(id, false, "cat"), spdyHead)
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = conn.Write(sent)
			_, err := io.Copy(io.Discard, conn)
			a.Logf("%s: %v", name, err)
		})
	}
}

// bomb opens a stream with a header of 256 MiB that compresses to a few bytes.
func bomb() []byte {
	var sent bytes.Buffer
	framer, err := spdyframe.NewFramer(&sent, &sent)
	if err == nil {
		err = framer.WriteFrame(&spdyframe.SynStreamFrame{StreamId: 1, Headers: http.Header{"Large": {strings.Repeat("x", 256<<20)}}})
	}
	if err != nil {
		panic(err)
	}
	return sent.Bytes()
}

// deflated compresses as SPDY does, but without its dictionary.
func deflated(content []byte) []byte {
	var compressed bytes.Buffer
	w := zlib.NewWriter(&compressed)
	_, _ = w.Write(content)
	_ = w.Flush()
	return compressed.Bytes()
}

// c31 closes an upgrade after each byte of the request's head.
func c31(a *attack) {
	id := a.pod(quick).sleeper()
	a.noLeakAfter(5, func() {
		for cut := 16; cut < len(webSocketHead); cut += 8 {
			address := a.execURL(id, false, "cat")
			u, err := url.Parse(address)
			if err != nil {
				a.Fatal(err)
			}
			head := fmt.Sprintf(webSocketHead, u.RequestURI(), u.Host)
			reset(a.send(address, head[:min(cut, len(head))]))
			reset(a.send(address, head))
		}
	})
}

// m06 forwards invalid ports, and ports of removed pods.
func m06(a *attack) {
	p := a.pod()
	for _, port := range []int32{0, -1, 65536, 1 << 30} {
		_, err := a.PortForward(a.ctx, &runtimeapi.PortForwardRequest{PodSandboxId: p.id, Port: []int32{port}})
		a.refused(fmt.Sprint("port ", port), err)
	}
	// A port that only the host listens on, requested while the pod's network is being removed.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	forward, err := a.PortForward(a.ctx, &runtimeapi.PortForwardRequest{PodSandboxId: p.id})
	if err != nil {
		a.Fatal(err)
	}
	late, err := a.PortForward(a.ctx, &runtimeapi.PortForwardRequest{PodSandboxId: p.id})
	if err != nil {
		a.Fatal(err)
	}
	reached := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
			reached <- struct{}{}
		}
	}()
	a.forward(forward.Url, port)
	if _, err := a.StopPodSandbox(a.ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		a.Fatal(err)
	}
	a.forward(late.Url, port)
	if len(reached) > 0 {
		a.Errorf("a port of the host was reached through the pod")
	}
	_, err = a.PortForward(a.ctx, &runtimeapi.PortForwardRequest{PodSandboxId: p.id})
	a.wantCode("port of a stopped pod", err, codes.FailedPrecondition, codes.NotFound)
}

// forward connects to a port through the streaming server and waits for the answer.
func (a *attack) forward(address string, port int) {
	a.Helper()
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	trip, err := spdy.NewRoundTripperWithProxy(nil, direct)
	if err != nil {
		a.Fatal(err)
	}
	q, _ := http.NewRequestWithContext(a.ctx, http.MethodPost, address, nil)
	q.Header.Set(httpstream.HeaderProtocolVersion, "portforward.k8s.io")
	answer, err := trip.RoundTrip(q)
	if err != nil {
		a.Fatal(err)
	}
	conn, err := trip.NewConnection(answer)
	if err != nil {
		a.Logf("forward: %v", err)
		return
	}
	defer conn.Close()
	headers := http.Header{"Port": {fmt.Sprint(port)}, "Requestid": {"0"}}
	headers.Set("Streamtype", "error")
	failure, err := conn.CreateStream(headers)
	if err != nil {
		return
	}
	headers.Set("Streamtype", "data")
	if _, err = conn.CreateStream(headers); err != nil {
		return
	}
	read := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(failure)
		read <- string(text)
	}()
	select {
	case text := <-read:
		a.Logf("forward: %s", text)
	case <-conn.CloseChan():
	case <-time.After(5 * time.Second):
		a.Errorf("no answer for a port that is not reachable")
	}
}

// m11 uses URLs of the streaming server twice, guesses URLs, and requests many.
func m11(a *attack) {
	id := a.pod(quick).sleeper()
	address := a.execURL(id, false, "true")
	u, err := url.Parse(address)
	if err != nil {
		a.Fatal(err)
	}
	if u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
		a.Errorf("the streaming server listens on %s", u.Host)
	}
	code := func(address string) int {
		q, err := http.NewRequestWithContext(a.ctx, http.MethodGet, address, nil)
		if err != nil {
			a.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			a.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	code(address)
	if got := code(address); got != http.StatusNotFound {
		a.Errorf("a used URL answers %d, want 404", got)
	}
	for range 200 {
		guess := address[:strings.LastIndexByte(address, '/')+1] + rand.Text()[:8]
		if got := code(guess); got != http.StatusNotFound {
			a.Errorf("a guessed URL answers %d, want 404", got)
		}
	}
	token := address[strings.LastIndexByte(address, '/')+1:]
	if bytes.Contains(a.daemonLog(), []byte(token)) {
		a.Errorf("the log contains the token of a URL")
	}
	var urls []string
	full := false
	for range 1100 {
		answer, err := a.Exec(a.ctx, &runtimeapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdout: true})
		if err != nil {
			a.wantCode("a URL beyond the limit", err, codes.ResourceExhausted)
			full = true
			break
		}
		urls = append(urls, answer.Url)
	}
	if !full {
		a.Errorf("got %d URLs without reaching a limit", len(urls))
	}
	for _, address := range urls { // make room for later attacks
		code(address)
	}
}

// w01 subscribes to events and does not read them.
func w01(a *attack) {
	stream, err := a.GetContainerEvents(a.ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		a.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		a.Fatal(err)
	}
	p := a.pod(quick)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			id, err := p.create(p.container(image.Busybox, "true"))
			if err == nil {
				_, err = a.RemoveContainer(a.ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
			}
			if err != nil {
				a.Errorf("beside a subscriber that does not read: %v", err)
				return
			}
		}
	}()
	<-done
}

// w03 stops a shim, as a failing disk would, and makes the calls that do not need that shim.
func w03(a *attack) {
	p := a.pod(quick)
	p.sleeper()
	shims, err := a.Processes("containerd-shim")
	if err != nil || len(shims) != 1 {
		a.Fatalf("shims %v, %v, want one", shims, err)
	}
	if err := syscall.Kill(shims[0], syscall.SIGSTOP); err != nil {
		a.Fatal(err)
	}
	defer func() {
		// The daemon may have killed the shim: that is acceptable.
		_ = syscall.Kill(shims[0], syscall.SIGCONT)
	}()
	a.growth(64, func() {
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				_, err := a.ListContainers(a.ctx, &runtimeapi.ListContainersRequest{})
				a.check("list", err)
				_, err = a.PodSandboxStatus(a.ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
				a.check("status", err)
			})
		}
		group.Wait()
	})
	other := a.pod(quick)
	other.output(other.container(image.Busybox, "true"))
	took := slices.Min(a.timeStatus(harness.After(a.T)))
	a.Logf("Status beside a stopped shim: %s", took)
}

// check fails the attack if err is not nil.
func (a *attack) check(what string, err error) {
	a.Helper()
	if err != nil {
		a.Errorf("%s: %v", what, err)
	}
}
