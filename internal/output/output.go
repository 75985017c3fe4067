// SPDX-License-Identifier: Apache-2.0

package output

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/containerd/errdefs"
)

// backlog is how many writes an attached client may lag behind before it is
// cut off.
const backlog = 64

// errSlow ends a client that would otherwise delay the container.
var errSlow = fmt.Errorf("the client does not read fast enough, it is detached: %w", errdefs.ErrResourceExhausted)

// Output is one stream out of a container. One goroutine writes to it.
type Output struct {
	log io.WriteCloser // nil when the output is discarded

	mu      sync.Mutex
	ended   bool
	clients map[*Client]struct{}
}

// New returns an output into log, which must take every write; nil discards
// what is written.
func New(log io.WriteCloser) *Output {
	return &Output{log: log, clients: map[*Client]struct{}{}}
}

// Write passes output on. It takes all bytes, and no client delays it.
func (o *Output) Write(p []byte) (int, error) {
	if o.log != nil {
		_, _ = o.log.Write(p)
	}
	o.pass(p)
	return len(p), nil
}

// pass hands a copy to the attached clients. One that does not keep up is cut
// off: it must not delay the container or its log.
func (o *Output) pass(p []byte) {
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

// Close says that the output has ended. It may be called again.
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

// Client is somebody who is attached to an output.
type Client struct {
	of     *Output
	chunks chan []byte
	err    error // why it was cut off, if it was; set before chunks is closed
}

// Attach adds a client. It gets what is written from now on, and must be
// detached.
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

// Detach ends what the client gets. It may be called again.
func (c *Client) Detach() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if _, ok := c.of.clients[c]; ok {
		delete(c.of.clients, c)
		close(c.chunks)
	}
}

// CopyTo gives the output to write until the output ends, which is no error, or
// ctx does, or the client was too slow (errdefs.ErrResourceExhausted).
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
