// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// lingerTimeout is how long a client may take to read data that was in transit when its stream
// ended.
const lingerTimeout = 5 * time.Minute

// watchedConn is a connection that cancels the context of its request when it ends. The HTTP server
// stops watching a connection that is hijacked, but the protocol library then reads from it all the
// time.
type watchedConn struct {
	net.Conn
	hijacked atomic.Bool
	closed   atomic.Bool // by the server, at least for writing
	ended    atomic.Bool // by the client
	end      context.CancelFunc
}

// Read reads from the connection and detects its end.
func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// The HTTP server sets deadlines to interrupt its own reads.
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended.Store(true)
		c.end()
		if c.closed.Load() {
			c.Conn.Close()
		}
	}
	return n, err
}

// Close closes the connection and cancels its context. The HTTP server and a protocol library both
// call it; closing a closed connection is not an error.
//
// A hijacked connection is closed for writing only, until the client has closed it or lingerTimeout
// is over. Megabytes may be in transit to a slow client. If the connection were closed, the kernel
// would drop them as soon as the client sends data, which kubectl does every five seconds (RFC
// 9293, section 3.6.1).
func (c *watchedConn) Close() error {
	c.end()
	if c.closed.Swap(true) {
		return nil
	}
	if c.hijacked.Load() && !c.ended.Load() {
		// Both fail if the connection is closed already.
		_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		return nil
	}
	_ = c.Conn.Close()
	return nil
}

// abort closes the connection and drops data in transit.
func (c *watchedConn) abort() {
	c.closed.Store(true)
	c.Conn.Close()
	c.end()
}

// linger reads and drops the client's data on a connection that is closed for writing, so that the
// kernel does not reset it, and then closes the connection.
func (c *watchedConn) linger() {
	_, _ = io.Copy(io.Discard, c.Conn)
	c.Conn.Close()
}

// watchedListener wraps every connection in a watchedConn.
type watchedListener struct{ net.Listener } // of TCP

// Accept waits for a connection.
func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: conn, end: func() {}}, nil
}

type connKey struct{}

// connContext sets the context of a connection before anything is read from it.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	c := watched(conn)
	ctx, c.end = context.WithCancel(ctx)
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *watchedConn { return ctx.Value(connKey{}).(*watchedConn) }

// markHijacked records that a protocol library has hijacked a connection.
func markHijacked(conn net.Conn, state http.ConnState) {
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
