// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// boundedIO is an exec's streams whose Wait gives up when nothing has come for
// limit and closes them, so that nobody waits for a child that the command left
// behind.
type boundedIO struct {
	cio.IO
	flow    *flow
	limit   time.Duration
	once    sync.Once
	drained chan struct{}
}

// Wait waits until the streams are read to their end, or nothing has come for limit.
// What has come and waits for a slow client is not given up.
func (b *boundedIO) Wait() {
	b.once.Do(func() {
		go func() {
			defer close(b.drained)
			b.IO.Wait()
		}()
	})
	begun := time.Now()
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	for {
		select {
		case <-b.drained:
			return
		case <-timer.C:
			left := b.limit - min(b.flow.idle(), time.Since(begun))
			if left <= 0 {
				_ = b.Close() // ends the reads under way
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

// Write writes to the writer behind it.
func (w flowWriter) Write(p []byte) (int, error) {
	w.flow.note(1)
	defer w.flow.note(-1)
	return w.Writer.Write(p)
}

// closingReader tells when its reader has come to its end, so that the shim's
// side of stdin can be closed as well.
type closingReader struct {
	io.Reader

	mu    sync.Mutex
	ended bool
	then  func()
}

// Read reads from the reader behind it.
func (c *closingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil {
		c.end()
	}
	return n, err
}

func (c *closingReader) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && c.then != nil {
		go c.then()
	}
	c.ended = true
}

// afterEOF calls then once, as soon as the reader has ended.
func (c *closingReader) afterEOF(then func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = then
	if c.ended {
		go then()
	}
}

// limitedBuffer keeps the first maxExecOutput bytes written to it. It may be
// read while a stuck stream still writes.
type limitedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps what there is room for and claims to have written it all.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxExecOutput - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *limitedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
