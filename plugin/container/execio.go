// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// execIO are the streams of an exec. A child that the command left behind may hold them open, and
// write to them, for as long as the container lives: drain gives up in time and closes them.
type execIO struct {
	cio.IO
	flow   *flow
	ended  chan struct{} // closed when the streams are read to their end
	closed chan struct{} // closed by Close
	close  func() error
}

func newExecIO(streams cio.IO, flow *flow) *execIO {
	e := &execIO{IO: streams, flow: flow, ended: make(chan struct{}), closed: make(chan struct{})}
	e.close = sync.OnceValue(func() error {
		close(e.closed)
		return streams.Close()
	})
	guard.Go(context.Background(), nil, "read exec streams", func() {
		defer close(e.ended)
		streams.Wait()
	})
	return e
}

// Close ends the streams, and the reads in progress.
func (e *execIO) Close() error { return e.close() }

// Wait waits until the streams are read to their end, or closed.
func (e *execIO) Wait() {
	select {
	case <-e.ended:
	case <-e.closed:
	}
}

// drain waits until the streams are read to their end. It closes them when nothing has come for
// idle, or when ctx ends. Output that a slow client has not taken yet does not count as idle.
func (e *execIO) drain(ctx context.Context, idle time.Duration) {
	begun := time.Now()
	timer := time.NewTimer(idle)
	defer timer.Stop()
	defer e.Close()
	for {
		select {
		case <-e.ended:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
			left := idle - min(e.flow.idle(), time.Since(begun))
			if left <= 0 {
				return
			}
			timer.Reset(left)
		}
	}
}

// flow knows when something last went through to a client.
type flow struct {
	mu      sync.Mutex
	writing int // writes under way
	last    time.Time
}

func newFlow() *flow { return &flow{last: time.Now()} }

// idle is how long nothing has gone through. While a write waits for its client it
// is nothing.
func (f *flow) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writing > 0 {
		return 0
	}
	return time.Since(f.last)
}

func (f *flow) note(writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing += writes
	f.last = time.Now()
}

// through returns a writer to another one, or nil for nil.
func (f *flow) through(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return flowWriter{w, f}
}

type flowWriter struct {
	io.Writer
	flow *flow
}

// Write writes to the writer behind it. A panic ends the stream: the goroutine is not ours.
func (w flowWriter) Write(p []byte) (int, error) {
	w.flow.note(1)
	defer w.flow.note(-1)
	return guard.Value(context.Background(), "write exec output", func() (int, error) { return w.Writer.Write(p) })
}

const closeStdin = "close stdin of exec"

// closingReader tells when its reader has come to its end, so that the shim's
// side of stdin can be closed as well.
type closingReader struct {
	io.Reader

	mu    sync.Mutex
	ended bool
	then  func()
}

// Read reads from the reader behind it. A panic ends the stream: the goroutine is not ours.
func (c *closingReader) Read(p []byte) (int, error) {
	n, err := guard.Value(context.Background(), "read exec input", func() (int, error) { return c.Reader.Read(p) })
	if err != nil {
		c.end()
	}
	return n, err
}

func (c *closingReader) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && c.then != nil {
		guard.Go(context.Background(), nil, closeStdin, c.then)
	}
	c.ended = true
}

// afterEOF calls then once, as soon as the reader has ended.
func (c *closingReader) afterEOF(then func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = then
	if c.ended {
		guard.Go(context.Background(), nil, closeStdin, then)
	}
}
