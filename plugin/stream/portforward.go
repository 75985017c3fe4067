// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

const (
	// dialTimeout limits connecting to a port of a pod, which may drop the packets.
	dialTimeout = 10 * time.Second

	// silenceTimeout is how long a client may be silent after the pod has closed its side. Clients
	// before Kubernetes 1.25 wait for the server to end the stream.
	silenceTimeout = time.Second
)

// PortForward returns a URL that connects to ports of a ready pod. Errors: NotFound,
// FailedPrecondition if the pod is not ready, InvalidArgument, ResourceExhausted.
func (s *Server) PortForward(req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	for _, port := range req.GetPort() {
		if port < 1 || port > math.MaxUint16 {
			return nil, invalid("port-forward: %d is not a port", port)
		}
	}
	r, err := s.readyPod(req.GetPodSandboxId())
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	url, err := s.register("portforward", func(w http.ResponseWriter, hr *http.Request) {
		ctx := hr.Context()
		forward := func(port int32, stream io.ReadWriteCloser) error {
			// The library's goroutine that calls this has no guard.
			err := guard.Call(ctx, "forward", func() error { return s.forward(ctx, r.ID, port, stream) })
			if err != nil && ctx.Err() == nil {
				awaitReply(stream)
			}
			return err
		}
		serve := func(w http.ResponseWriter, hr *http.Request) {
			portforward.ServePortForward(w, hr, forwarder(forward), r.ID, "", &portforward.V4Options{Ports: req.GetPort()},
				s.endpoint.Load().opts.IdleTimeout, s.creationTimeout, portforward.SupportedProtocols)
		}
		if wantsTunnel(hr) {
			serveTunnel(w, hr, serve)
			return
		}
		serve(w, hr)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PortForwardResponse{Url: url}, nil
}

// forwarder implements the library's interface, which does not pass the context of the request.
type forwarder func(port int32, stream io.ReadWriteCloser) error

var _ portforward.PortForwarder = forwarder(nil)

// PortForward connects a stream to a port.
func (f forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	return f(port, stream)
}

// awaitReply returns when the client of a SPDY stream has got the reply that opens the stream: an
// empty write waits for it. The library resets the stream of a failed connection, and a reset
// before the reply would hide the error.
func awaitReply(stream io.Writer) {
	if spdy, ok := stream.(httpstream.Stream); ok {
		_, _ = spdy.Write(nil) // fails if the client has disconnected
	}
}

func (s *Server) readyPod(id string) (*pod.Record, error) {
	r, err := s.pods.Get(id)
	if err != nil {
		return nil, err
	}
	if r.State != pod.Ready {
		return nil, fmt.Errorf("%s is not ready: %w", r, errdefs.ErrFailedPrecondition)
	}
	return r, nil
}

// forward connects a stream of a client to a port of a pod until both sides have closed it or ctx
// ends. It returns an error only if it cannot connect: kubectl ends all its connections on an
// error.
func (s *Server) forward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	r, err := s.readyPod(id) // the pod may have stopped since the URL was returned
	if err != nil {
		return err
	}
	conn, err := dial(ctx, r, port)
	if err != nil {
		return fmt.Errorf("%s: port %d: %w", r, port, err)
	}
	if err := splice(ctx, stream, conn); err != nil {
		log.G(ctx).WithError(err).WithField("pod", r.ID).WithField("port", port).Debug("forwarded connection failed")
	}
	return nil
}

// dial connects to a port on the loopback interface of a pod.
func dial(ctx context.Context, r *pod.Record, port int32) (*net.TCPConn, error) {
	var conn *net.TCPConn
	dial := func() (err error) {
		conn, err = dialLoopback(ctx, port)
		return err
	}
	if r.HostNetwork() {
		return conn, dial()
	}
	if r.Namespaces.Net == "" {
		return nil, fmt.Errorf("the pod has no network: %w", errdefs.ErrFailedPrecondition)
	}
	err := network.InNetNS(r.Namespaces.Net, dial)
	return conn, err
}

// dialLoopback tries IPv4, then IPv6. The addresses are literal for two reasons: a name would be
// resolved outside of the pod, and with a single address the dialer opens its socket on the calling
// thread, which is in the pod's network.
func dialLoopback(ctx context.Context, port int32) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	var first error
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if first == nil {
			first = err
		}
	}
	if errors.Is(first, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w (nothing listens there)", unix.ECONNREFUSED)
	}
	return nil, first
}

// splice copies in both directions until both sides are done, and closes both. The end of one
// direction is passed on and leaves the other direction open.
func splice(ctx context.Context, stream io.ReadWriteCloser, conn *net.TCPConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the stream ends with its connection
	defer stop()

	toPod := &countingWriter{Writer: conn}
	sent := make(chan struct{})
	result := guard.Start(ctx, "send", func() error {
		defer close(sent)
		defer func() { _ = conn.CloseWrite() }() // an error shows up in the other direction
		_, err := io.Copy(toPod, stream)
		return err
	})
	receiveErr := guard.Call(ctx, "receive", func() error {
		_, err := io.Copy(stream, conn)
		return err
	})
	stream.Close()
	if receiveErr == nil {
		awaitSilence(ctx, sent, toPod)
	}
	conn.Close()
	// Close ends only the output of a SPDY stream; Reset ends its input.
	if spdy, ok := stream.(httpstream.Stream); ok {
		_ = spdy.Reset() // fails if the connection has ended
	}
	return errors.Join(receiveErr, <-result)
}

// awaitSilence returns when the client is done, or has sent nothing to the pod for silenceTimeout:
// a pod that has closed its side rarely reads on.
func awaitSilence(ctx context.Context, sent <-chan struct{}, toPod *countingWriter) {
	tick := time.NewTicker(silenceTimeout)
	defer tick.Stop()
	for last := toPod.n.Load(); ; last = toPod.n.Load() {
		select {
		case <-sent:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			if toPod.n.Load() == last {
				return
			}
		}
	}
}

// countingWriter counts the bytes that are written through it.
type countingWriter struct {
	io.Writer
	n atomic.Int64
}

// Write writes p and counts its bytes.
func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}
