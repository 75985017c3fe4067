// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/containerd/errdefs"
)

// backlog is the number of writes that an attached client may lag behind before it is detached.
const backlog = 64

// errSlow is the error of a client that was detached because it would have delayed the container.
var errSlow = fmt.Errorf("client reads too slowly and was detached (attach again): %w", errdefs.ErrResourceExhausted)

// Output passes one output stream of a container to the log and to the attached clients. One
// goroutine writes to it.
type Output struct {
	log io.WriteCloser // nil when the output is discarded

	mu      sync.Mutex
	ended   bool
	clients map[*Client]struct{}
}

// Output returns a new output of the stream [Stdout] or [Stderr].
func (w *Writer) Output(name string) *Output {
	if w == nil {
		return NewOutput(nil)
	}
	return NewOutput(&stream{w: w, name: name})
}

// NewOutput returns an output that writes to log, or discards the output if log is nil. Writes to
// log must not fail.
func NewOutput(log io.WriteCloser) *Output {
	return &Output{log: log, clients: map[*Client]struct{}{}}
}

// Write passes output to the log and the clients. It never fails, and no client delays it.
func (o *Output) Write(p []byte) (int, error) {
	if o.log != nil {
		_, _ = o.log.Write(p)
	}
	o.sendClients(p)
	return len(p), nil
}

// sendClients sends a copy to the attached clients, and detaches a client that lags behind: it must
// not delay the container or its log.
func (o *Output) sendClients(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.clients) == 0 {
		return
	}
	chunk := append([]byte(nil), p...)
	for c := range o.clients {
		select {
		case c.chunks <- chunk:
		default:
			delete(o.clients, c)
			c.err = errSlow
			close(c.chunks)
		}
	}
}

// Close ends the output. It may be called more than once.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return nil
	}
	o.ended = true
	for c := range o.clients {
		delete(o.clients, c)
		close(c.chunks)
	}
	if o.log == nil {
		return nil
	}
	return o.log.Close()
}

// Client is a reader that is attached to an output.
type Client struct {
	of     *Output
	chunks chan []byte
	err    error // why the client was detached, if it was too slow; set before chunks is closed
}

// Attach adds a client, which gets everything that is written from now on. The caller must detach
// it.
func (o *Output) Attach() *Client {
	c := &Client{of: o, chunks: make(chan []byte, backlog)}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		close(c.chunks)
		return c
	}
	o.clients[c] = struct{}{}
	return c
}

// Detach removes the client. It may be called more than once.
func (c *Client) Detach() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if _, ok := c.of.clients[c]; ok {
		delete(c.of.clients, c)
		close(c.chunks)
	}
}

// CopyTo passes the output to write until the output ends (nil), ctx ends, write fails, or the
// client was too slow (errdefs.ErrResourceExhausted).
func (c *Client) CopyTo(ctx context.Context, write func([]byte) error) error {
	for {
		select {
		case chunk, open := <-c.chunks:
			if !open {
				return c.err
			}
			if err := write(chunk); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
