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

// lingerLimit is how long a client may take to read what was on its way to it when
// its stream ended.
const lingerLimit = 5 * time.Minute

// watchedConn is a connection whose end ends the context of its request. The
// HTTP server stops watching a connection when a protocol takes it over, but
// whoever has it reads from it all the time.
type watchedConn struct {
	net.Conn
	hijacked atomic.Bool
	closed   atomic.Bool // by us, at least the half that is ours
	ended    atomic.Bool // by the client
	end      context.CancelFunc
}

// Read reads from the connection and notices its end.
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

// Close closes the connection and ends its context. The server and a protocol both
// close it, and it may be closed already: that is no error.
//
// Of a connection that a protocol has taken over only our half is closed, until the
// client has closed its own or five minutes are over: megabytes may be on their way
// to a client that is slow, and were it closed, the kernel would drop them as soon as
// the client sends anything, which kubectl does every five seconds (RFC 9293, section
// 3.6.1).
func (c *watchedConn) Close() error {
	c.end()
	if c.closed.Swap(true) {
		return nil
	}
	if c.hijacked.Load() && !c.ended.Load() {
		// They fail when it is closed already.
		_ = c.SetReadDeadline(time.Now().Add(lingerLimit))
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		return nil
	}
	_ = c.Conn.Close()
	return nil
}

// abort closes the connection whatever is on its way.
func (c *watchedConn) abort() {
	c.closed.Store(true)
	c.Conn.Close()
	c.end()
}

// linger reads and drops what the client still sends on a connection that is closed, so
// that the kernel has no reason to reset it, and ends what is left of it.
func (c *watchedConn) linger() {
	_, _ = io.Copy(io.Discard, c.Conn)
	c.Conn.Close()
}

// watchedListener makes every connection a watchedConn.
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
