// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

const protocolPortForward = "portforward.k8s.io"

// listen accepts connections in a network namespace ("" is the test's own) and calls handle with
// each.
func listen(t *testing.T, netns, address string, handle func(*net.TCPConn)) (port int) {
	t.Helper()
	var l net.Listener
	listen := func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}
	err := listen
	if netns != "" {
		err = func() error { return network.InNetNS(netns, listen) }
	}
	if err := err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// forwardSPDY opens one forwarded connection.
func forwardSPDY(t *testing.T, conn httpstream.Connection, port int) (data, errors httpstream.Stream) {
	t.Helper()
	header := func(kind string) http.Header {
		h := http.Header{}
		h.Set("streamType", kind)
		h.Set("port", strconv.Itoa(port))
		h.Set("requestID", "1")
		return h
	}
	errors, err := conn.CreateStream(header("error"))
	if err != nil {
		t.Fatal(err)
	}
	errors.Close()
	if data, err = conn.CreateStream(header("data")); err != nil {
		t.Fatal(err)
	}
	return data, errors
}

func forwardURL(t *testing.T, s *Server, ports ...int32) string {
	t.Helper()
	resp, err := s.PortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "p", Port: ports})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Url
}

// echoAfterEOF replies when the client has closed its side.
func echoAfterEOF(conn *net.TCPConn) {
	in, _ := io.ReadAll(conn)
	fmt.Fprintf(conn, "got %s", in)
}

func TestPortForwardHalfClose(t *testing.T) {
	pods := fakePods{"p": newPod(pod.Ready, hostNetwork)}
	s, _ := serve(t, Options{}, fakeContainers{}, pods)

	t.Run("client first", func(t *testing.T) {
		port := listen(t, "", "127.0.0.1:0", echoAfterEOF)
		data, errs := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
		fmt.Fprint(data, "hello")
		data.Close()
		if got := readAll(t, data); got != "got hello" {
			t.Errorf("%q, want what the pod sends after the client has closed its side", got)
		}
		if got := readAll(t, errs); got != "" {
			t.Errorf("error %q", got)
		}
	})
	t.Run("pod first", func(t *testing.T) {
		received := make(chan string, 1)
		port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) {
			fmt.Fprint(conn, "bye")
			conn.CloseWrite()
			in, _ := io.ReadAll(conn)
			received <- string(in)
		})
		data, errs := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
		if got := readAll(t, data); got != "bye" {
			t.Errorf("%q, want bye", got)
		}
		fmt.Fprint(data, "upload")
		data.Close()
		if got := <-received; got != "upload" {
			t.Errorf("the pod got %q, want what the client sends after the pod has closed its side", got)
		}
		if got := readAll(t, errs); got != "" {
			t.Errorf("error %q", got)
		}
	})
	t.Run("pod only", func(t *testing.T) { // as an old client that waits for the error stream
		port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) { fmt.Fprint(conn, "bye") })
		data, errs := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
		if got := readAll(t, data); got != "bye" {
			t.Errorf("%q, want bye", got)
		}
		if got := readAll(t, errs); got != "" {
			t.Errorf("error %q", got)
		}
	})
}

// A silent connection ends when its client disconnects and when the server ends.
func TestPortForwardClientDisconnects(t *testing.T) {
	for name, end := range map[string]func(conn httpstream.Connection, stop func()){
		"client": func(conn httpstream.Connection, _ func()) { closeSPDY(conn) },
		"server": func(_ httpstream.Connection, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			s, stop := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
			accepted, gone := make(chan struct{}), make(chan struct{})
			port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) {
				close(accepted)
				for { // ignores the half-close
					if _, err := conn.Write([]byte("x")); err != nil {
						break
					}
					_, _ = io.Copy(io.Discard, conn)
				}
				close(gone)
			})
			conn := dialSPDY(t, forwardURL(t, s), protocolPortForward)
			forwardSPDY(t, conn, port)
			<-accepted
			end(conn, stop)
			<-gone
		})
	}
}

func TestPortForwardWebSocket(t *testing.T) {
	s, _ := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	port := listen(t, "", "127.0.0.1:0", func(conn *net.TCPConn) {
		in := make([]byte, 5)
		_, _ = io.ReadFull(conn, in)
		fmt.Fprint(conn, strings.ToUpper(string(in)))
	})
	conn := dialWebSocket(t, forwardURL(t, s, int32(port)), "v4.channel.k8s.io")
	sendFrame(t, conn, 0, "hello")
	got, err := receiveAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	prefix := string(binary.LittleEndian.AppendUint16(nil, uint16(port)))
	if diff := cmp.Diff(map[byte]string{0: prefix + "HELLO", 1: prefix}, got); diff != "" {
		t.Errorf("data and errors (-want +got):\n%s", diff)
	}
}

func TestPortForwardRefused(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	s, _ := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, hostNetwork)})
	_, errs := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
	want := fmt.Sprintf("pod default/web: port %d: connection refused (nothing listens there)", port)
	if got := readAll(t, errs); !strings.HasSuffix(got, want) {
		t.Errorf("error %q, want ... %s", got, want)
	}
}

// TestPortForwardNetNS connects to a server in a pod's network, on both loopback addresses, and
// never to a server on the node.
func TestPortForwardNetNS(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	dir := t.TempDir()
	pinner := network.NewPinner(paths.Paths{State: dir}, dir)
	ns, err := pinner.Pin(t.Context(), network.PinOptions{ID: "p", Net: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pinner.Unpin(context.Background(), "p", network.Namespaces{}); err != nil {
			t.Error(err)
		}
	})
	s, _ := serve(t, Options{}, fakeContainers{}, fakePods{"p": newPod(pod.Ready, func(r *pod.Record) { r.Namespaces = ns })})
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			port := listen(t, ns.Net, address, echoAfterEOF)
			data, _ := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
			fmt.Fprint(data, "hello")
			data.Close()
			if got := readAll(t, data); got != "got hello" {
				t.Errorf("%q, want the pod's reply", got)
			}
		})
	}
	t.Run("server of the node", func(t *testing.T) {
		port := listen(t, "", "127.0.0.1:0", echoAfterEOF)
		_, errs := forwardSPDY(t, dialSPDY(t, forwardURL(t, s), protocolPortForward), port)
		if got := readAll(t, errs); !strings.Contains(got, "nothing listens there") {
			t.Errorf("error %q, want a refused connection", got)
		}
	})
}

func TestPortForwardRequests(t *testing.T) {
	tests := []struct {
		name string
		pods fakePods
		port int32
		want func(error) bool
	}{
		{"fine", fakePods{"p": newPod(pod.Ready, nil)}, 80, func(err error) bool { return err == nil }},
		{"unknown", nil, 80, errdefs.IsNotFound},
		{"stopping", fakePods{"p": newPod(pod.Stopping, nil)}, 80, errdefs.IsFailedPrecondition},
		{"stopped", fakePods{"p": newPod(pod.Stopped, nil)}, 80, errdefs.IsFailedPrecondition},
		{"port 0", fakePods{"p": newPod(pod.Ready, nil)}, 0, errdefs.IsInvalidArgument},
		{"port too large", fakePods{"p": newPod(pod.Ready, nil)}, 65536, errdefs.IsInvalidArgument},
	}
	for _, tt := range tests {
		s, _ := serve(t, Options{}, fakeContainers{}, tt.pods)
		_, err := s.PortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "p", Port: []int32{tt.port}})
		if !tt.want(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestPortForwardStopped checks that a URL created before the pod stopped connects to nothing, not
// even to the network of the host.
func TestPortForwardStopped(t *testing.T) {
	pods := fakePods{"p": newPod(pod.Ready, nil)}
	s, _ := serve(t, Options{}, fakeContainers{}, pods)
	port := listen(t, "", "127.0.0.1:0", echoAfterEOF)
	for _, tt := range []struct {
		state pod.State
		want  string
	}{
		{pod.Stopped, "pod default/web is not ready"},
		{pod.Ready, "the pod has no network"},
	} {
		pods["p"].State = pod.Ready
		url := forwardURL(t, s)
		pods["p"].State = tt.state
		_, errs := forwardSPDY(t, dialSPDY(t, url, protocolPortForward), port)
		if got := readAll(t, errs); !strings.Contains(got, tt.want) {
			t.Errorf("error %q, want ... %s", got, tt.want)
		}
	}
}
