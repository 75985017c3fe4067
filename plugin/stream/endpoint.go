// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// endpoint is where the server listens, and how. A [Server.Prepare] for the same address makes
// another endpoint with the same listener.
type endpoint struct {
	opts     Options
	listener *listener
}

// listener accepts connections, and wraps them in TLS while there is a configuration for it.
type listener struct {
	watchedListener
	tls     atomic.Pointer[tls.Config] // nil for plain HTTP
	retired atomic.Bool                // it is closed on purpose
}

// open returns an endpoint that is listening.
func open(opts Options) (*endpoint, error) {
	address := opts.Address
	if address == "" {
		address = defaultAddress()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, opts.Port))
	if err != nil {
		return nil, fmt.Errorf("streaming server (stream_server_address, stream_server_port): %w", err)
	}
	e := &endpoint{opts, &listener{watchedListener: watchedListener{l}}}
	e.listener.tls.Store(opts.TLS)
	return e, nil
}

// Prepare returns a function that replaces the Options, or an error if the server cannot listen on
// the new address. Streams in progress are not affected. URLs that were returned before stay valid,
// unless the address stays the same and TLS is switched on or off. The caller must call the
// function, because the server already listens on the new address.
func (s *Server) Prepare(opts Options) (apply func(), err error) {
	now := s.endpoint.Load()
	if opts.Address == now.opts.Address && opts.Port == now.opts.Port {
		return func() {
			now.listener.tls.Store(opts.TLS)
			s.endpoint.Store(&endpoint{opts, now.listener})
		}, nil
	}
	next, err := open(opts)
	if errors.Is(err, unix.EADDRINUSE) && opts.Port == now.opts.Port {
		return nil, fmt.Errorf("%w (the server listens on this port itself: choose another port, or restart)", err)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		s.endpoint.Store(next)
		select {
		case s.opened <- next:
		case <-s.ended:
			next.retire()
		}
		time.AfterFunc(urlTimeout, now.retire)
	}, nil
}

// serve accepts connections until the server or the endpoint is closed.
func (e *endpoint) serve(server *http.Server) error {
	err := server.Serve(e.listener)
	if errors.Is(err, http.ErrServerClosed) || e.listener.retired.Load() {
		return nil
	}
	return err
}

// retire ends the endpoint when no URL with its address is valid any more.
func (e *endpoint) retire() {
	e.listener.retired.Store(true)
	_ = e.listener.Close() // it may be closed with the server
}

// url returns the URL of the server.
func (e *endpoint) url() *url.URL {
	u := &url.URL{Scheme: "http", Host: e.listener.Addr().String()}
	if e.opts.TLS != nil {
		u.Scheme = "https"
	}
	return u
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.watchedListener.Accept()
	if config := l.tls.Load(); err == nil && config != nil {
		conn = tls.Server(conn, config)
	}
	return conn, err
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
