// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
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
	creationTimeout time.Duration // for the client to create its streams
	endpoint        atomic.Pointer[endpoint]
	opened          chan *endpoint // for Serve to accept connections from
	ended           chan struct{}  // closed when Serve returns
	pending         pending
	life            context.Context // ends with the server; set by Serve
}

// New returns a server that is listening already, so that its URLs are valid. It answers once
// [Server.Serve] is called.
func New(opts Options, containers Containers, pods Pods) (*Server, error) {
	first, err := open(opts)
	if err != nil {
		return nil, err
	}
	s := &Server{
		containers:      containers,
		pods:            pods,
		creationTimeout: remotecommand.DefaultStreamCreationTimeout,
		opened:          make(chan *endpoint, 1),
		ended:           make(chan struct{}),
	}
	s.endpoint.Store(first)
	s.opened <- first
	return s, nil
}

// Serve answers requests until ctx ends. It then closes the streams in progress and returns when
// they have ended. ctx carries containerd's namespace. Serve may be called once.
func (s *Server) Serve(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer end()
	defer close(s.ended)
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

	var serving sync.WaitGroup
	failed := make(chan error, 1)
	accept := func(e *endpoint) {
		if err := e.serve(server); err != nil {
			select {
			case failed <- fmt.Errorf("streaming server: %w", err):
			default:
			}
		}
	}
	var err error
	for err == nil && life.Err() == nil {
		select {
		case e := <-s.opened:
			guard.Go(ctx, &serving, "accept streams", func() { accept(e) })
		case err = <-failed:
		case <-life.Done():
		}
	}
	end()
	server.Close()
	serving.Wait()
	s.pending.close()
	return err
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
	return s.endpoint.Load().url().JoinPath(kind, token).String(), nil
}

// urlPath returns the path of the URL with this token.
func urlPath(kind, token string) string { return path.Join("/", kind, token) }

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
