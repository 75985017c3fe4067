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

// execIO holds the streams of an exec. A child process that the command left behind can hold them
// open, and write to them, as long as the container runs. Therefore drain has timeouts and then
// closes the streams.
type execIO struct {
	cio.IO
	traffic *traffic
	ended   chan struct{} // closed when the streams are read to their end
	closed  chan struct{} // closed by Close
	close   func() error
}

func newExecIO(streams cio.IO, traffic *traffic) *execIO {
	e := &execIO{IO: streams, traffic: traffic, ended: make(chan struct{}), closed: make(chan struct{})}
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

// Close closes the streams and interrupts the reads in progress.
func (e *execIO) Close() error { return e.close() }

// Wait waits until the streams are read to their end, or closed.
func (e *execIO) Wait() {
	select {
	case <-e.ended:
	case <-e.closed:
	}
}

// drain waits until the streams are read to their end. It closes them if no output arrives for the
// duration idle, or when ctx ends. Output that waits for a slow client counts as traffic.
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
			left := idle - min(e.traffic.idle(), time.Since(begun))
			if left <= 0 {
				return
			}
			timer.Reset(left)
		}
	}
}

// traffic records when output was last written to a client.
type traffic struct {
	mu      sync.Mutex
	writing int // writes in progress
	last    time.Time
}

func newTraffic() *traffic { return &traffic{last: time.Now()} }

// idle returns the time since the last write. It is 0 while a write is in progress.
func (t *traffic) idle() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writing > 0 {
		return 0
	}
	return time.Since(t.last)
}

func (t *traffic) add(writes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing += writes
	t.last = time.Now()
}

// writer returns a writer to w that records the traffic, or nil if w is nil.
func (t *traffic) writer(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return trafficWriter{w, t}
}

type trafficWriter struct {
	io.Writer
	traffic *traffic
}

// Write writes to the client. A panic becomes an error, which ends the stream: a goroutine of
// containerd's client calls Write.
func (w trafficWriter) Write(p []byte) (int, error) {
	w.traffic.add(1)
	defer w.traffic.add(-1)
	return guard.Value(context.Background(), "write exec output", func() (int, error) { return w.Writer.Write(p) })
}

// closeStdinCall names the callback in the log line of a panic.
const closeStdinCall = "close stdin of exec"

// eofReader calls a function when its input ends, so that stdin can be closed in the shim, too.
type eofReader struct {
	io.Reader

	mu       sync.Mutex
	ended    bool
	callback func()
}

// Read reads from the client. A panic becomes an error, which ends the stream: a goroutine of
// containerd's client calls Read.
func (r *eofReader) Read(p []byte) (int, error) {
	n, err := guard.Value(context.Background(), "read exec input", func() (int, error) { return r.Reader.Read(p) })
	if err != nil {
		r.finish()
	}
	return n, err
}

func (r *eofReader) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && r.callback != nil {
		guard.Go(context.Background(), nil, closeStdinCall, r.callback)
	}
	r.ended = true
}

// onEOF calls callback once, when the input ends. If it has ended, the call comes at once.
func (r *eofReader) onEOF(callback func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.callback = callback
	if r.ended {
		guard.Go(context.Background(), nil, closeStdinCall, callback)
	}
}
