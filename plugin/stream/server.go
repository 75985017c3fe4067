// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// headerTimeout bounds the time that a client may take to send its request, and
// for how long a connection without one is kept.
const headerTimeout = 30 * time.Second

// Options say where and how a [Server] listens.
type Options struct {
	// Address is an IP address or a host name; empty means the address that the
	// machine reaches its default route with, or 127.0.0.1 if it has none.
	Address string
	// Port is a number; "0" lets the kernel choose one.
	Port string
	// IdleTimeout closes a connection on which nothing has moved for so long; 0
	// is never.
	IdleTimeout time.Duration
	// TLS is nil for plain HTTP; see [TLS].
	TLS *tls.Config
}

// Containers runs commands in containers and attaches to them.
type Containers interface {
	// Get returns the container with this id or unique prefix of an id.
	Get(id string) (*container.Record, error)
	// Exec runs a command until it ends, or kills it when ctx ends, and returns
	// its exit code.
	Exec(ctx context.Context, id string, opts container.ExecOptions) (uint32, error)
	// Attach connects streams to a container until it or ctx ends.
	Attach(ctx context.Context, id string, opts container.AttachOptions) error
}

// Pods finds the pods whose ports are forwarded.
type Pods interface {
	// Get returns the pod with this id or unique prefix of an id.
	Get(id string) (*pod.Record, error)
}

// Server gives out URLs and serves the streams behind them.
type Server struct {
	containers Containers
	pods       Pods
	idle       time.Duration
	creation   time.Duration // that a client may take to create its streams
	listener   net.Listener
	base       url.URL
	pending    pending
	life       context.Context // of the server, from Serve on
}

// New returns a server that listens already, so that its URLs can be given out,
// and answers from [Server.Serve] on.
func New(opts Options, containers Containers, pods Pods) (*Server, error) {
	address := opts.Address
	if address == "" {
		address = defaultAddress()
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, opts.Port))
	if err != nil {
		return nil, fmt.Errorf("streaming server (stream_server_address, stream_server_port): %w", err)
	}
	s := &Server{
		containers: containers,
		pods:       pods,
		idle:       opts.IdleTimeout,
		creation:   remotecommand.DefaultStreamCreationTimeout,
		base:       url.URL{Scheme: "http", Host: listener.Addr().String()},
	}
	s.listener = watchedListener{listener}
	if opts.TLS != nil {
		s.base.Scheme = "https"
		s.listener = tls.NewListener(s.listener, opts.TLS)
	}
	return s, nil
}

// defaultAddress is the machine's address on its default route. Nothing is sent
// to find it: the kernel chooses a source address for a UDP socket when it is
// connected. The destinations are documentation addresses (RFC 5737, RFC 3849).
func defaultAddress() string {
	for _, destination := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", destination)
		if err != nil {
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr)
		conn.Close()
		return local.IP.String()
	}
	return "127.0.0.1"
}

// Serve answers requests until ctx ends; then it closes the streams under way and
// returns when they have ended. ctx carries containerd's namespace. It may be
// called once.
func (s *Server) Serve(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer end()
	s.life = life

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a stream is an upgraded connection, which HTTP/2 has not
	server := &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return life },
		ConnContext:       connContext,
		ConnState:         noteHijack,
	}
	stop := context.AfterFunc(life, func() { server.Close() })
	defer stop()

	err := server.Serve(s.listener)
	end()
	server.Close()
	s.pending.close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("streaming server: %w", err)
}

// ServeHTTP serves the stream that was promised under the path of the request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	serve, ok := s.pending.take(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	defer s.pending.done()

	// The protocol libraries own a hijacked connection and may leave it open: when
	// a client does not create the streams it asked for, and when the server ends.
	c := connOf(r.Context())
	stop := context.AfterFunc(r.Context(), func() { c.Close() })
	// Slow clients, for which linger waits, do not keep the server from ending.
	stopAbort := context.AfterFunc(s.life, c.abort)
	defer stopAbort()
	// The HTTP server would catch a panic, too, but leave the connection open.
	err := guard.Call(r.Context(), "serve stream", func() error { serve(w, r); return nil })
	if err != nil && !c.hijacked.Load() {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
	stop()
	if c.hijacked.Load() {
		c.Close()
		c.linger()
	}
}

// promise returns a URL under which serve is called once.
func (s *Server) promise(kind string, serve http.HandlerFunc) (string, error) {
	token, err := s.pending.add(kind, serve)
	if err != nil {
		return "", fmt.Errorf("%s: %w", kind, err)
	}
	return s.base.JoinPath(kind, token).String(), nil
}

// urlPath is the path of the URL of a promise.
func urlPath(kind, token string) string { return path.Join("/", kind, token) }

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
