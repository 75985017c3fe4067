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

// headerTimeout limits how long a client may take to send its request, and how long an idle
// connection is kept.
const headerTimeout = 30 * time.Second

// Options configure the listener of a [Server].
type Options struct {
	// Address is an IP address or a host name. Empty means the node's address on its default route,
	// or 127.0.0.1 without a default route.
	Address string
	// Port is a port number; "0" lets the kernel choose one.
	Port string
	// IdleTimeout closes a connection that has transferred no data for this time; 0 means never.
	IdleTimeout time.Duration
	// TLS is nil for plain HTTP; see [TLS].
	TLS *tls.Config
}

// Containers runs commands in containers and attaches to them.
type Containers interface {
	// Get returns the container with this id or unique prefix of an id.
	Get(id string) (*container.Record, error)
	// Exec runs a command until it exits and returns its exit code. It kills the command when ctx
	// ends.
	Exec(ctx context.Context, id string, opts container.ExecOptions) (uint32, error)
	// Attach connects streams to a container until the container exits or ctx ends.
	Attach(ctx context.Context, id string, opts container.AttachOptions) error
}

// Pods finds the pods whose ports are forwarded.
type Pods interface {
	// Get returns the pod with this id or unique prefix of an id.
	Get(id string) (*pod.Record, error)
}

// Server returns URLs and serves the streams behind them.
type Server struct {
	containers      Containers
	pods            Pods
	idleTimeout     time.Duration
	creationTimeout time.Duration // for the client to create its streams
	listener        net.Listener
	base            url.URL
	pending         pending
	life            context.Context // ends with the server; set by Serve
}

// New returns a server that is listening already, so that its URLs are valid. It answers once
// [Server.Serve] is called.
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
		containers:      containers,
		pods:            pods,
		idleTimeout:     opts.IdleTimeout,
		creationTimeout: remotecommand.DefaultStreamCreationTimeout,
		base:            url.URL{Scheme: "http", Host: listener.Addr().String()},
	}
	s.listener = watchedListener{listener}
	if opts.TLS != nil {
		s.base.Scheme = "https"
		s.listener = tls.NewListener(s.listener, opts.TLS)
	}
	return s, nil
}

// defaultAddress returns the node's address on its default route. No packet is sent to find it: the
// kernel chooses the source address of a UDP socket when the socket is connected. The destinations
// are documentation addresses (RFC 5737, RFC 3849).
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

// Serve answers requests until ctx ends. It then closes the streams in progress and returns when
// they have ended. ctx carries containerd's namespace. Serve may be called once.
func (s *Server) Serve(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer end()
	s.life = life

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a stream is an upgraded connection, which HTTP/2 lacks
	server := &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return life },
		ConnContext:       connContext,
		ConnState:         markHijacked,
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

// ServeHTTP serves the stream that is registered under the path of the request.
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

	// The protocol libraries own a hijacked connection and may leave it open, if the client does
	// not create the streams that it requested, or if the server ends.
	c := connOf(r.Context())
	stop := context.AfterFunc(r.Context(), func() { c.Close() })
	// The server does not wait in linger for slow clients when it ends.
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

// register returns a URL that calls serve, once.
func (s *Server) register(kind string, serve http.HandlerFunc) (string, error) {
	token, err := s.pending.add(kind, serve)
	if err != nil {
		return "", fmt.Errorf("%s: %w", kind, err)
	}
	return s.base.JoinPath(kind, token).String(), nil
}

// urlPath returns the path of the URL with this token.
func urlPath(kind, token string) string { return path.Join("/", kind, token) }

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
