// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// watchedConn is a connection whose end ends the context of its request. The
// HTTP server stops watching a connection when a protocol takes it over, but
// whoever has it reads from it all the time.
type watchedConn struct {
	net.Conn
	hijacked atomic.Bool
	closed   atomic.Bool
	end      context.CancelFunc
}

// Read reads from the connection and notices its end.
func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// The HTTP server sets deadlines to interrupt its own reads.
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.end()
	}
	return n, err
}

// Close closes the connection and ends its context. The server and a protocol both
// close it: to do so twice is no error.
func (c *watchedConn) Close() error {
	c.end()
	if c.closed.Swap(true) {
		return nil
	}
	return c.Conn.Close()
}

// watchedListener makes every connection a watchedConn.
type watchedListener struct{ net.Listener }

// Accept waits for a connection.
func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: conn, end: func() {}}, nil
}

type connKey struct{}

// connContext makes the context of a connection before anything is read from it.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	c := watched(conn)
	ctx, c.end = context.WithCancel(ctx)
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *watchedConn { return ctx.Value(connKey{}).(*watchedConn) }

// noteHijack remembers that a protocol has taken over a connection.
func noteHijack(conn net.Conn, state http.ConnState) {
	if state == http.StateHijacked {
		watched(conn).hijacked.Store(true)
	}
}

func watched(conn net.Conn) *watchedConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return conn.(*watchedConn)
}
