// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 32 << 10

	// maxDrain is the maximum number of bytes that finish reads from a stream whose writers
	// continue: the default maximum size of a pipe (pipe(7)).
	maxDrain = 1 << 20
)

// buffers is shared by all pumps of the process; an idle pump holds no buffer.
var buffers = sync.Pool{New: newBuffer}

func newBuffer() any { return new([bufferSize]byte) }

// pump copies one stream until it ends and closes both sides.
type pump struct {
	src *os.File
	dst io.WriteCloser
	// output is false for stdin: its unread rest is discarded when the process exits. Closing both
	// sides of the stdin of a terminal hangs up the terminal.
	output bool
	// onHangup, if set, is called after EIO, which a terminal returns when no process has it open.
	// It reports whether to continue reading.
	onHangup  func() bool
	finishing atomic.Bool
	// started is set once the stream was readable. Before that, read takes no buffer.
	started bool
}

func (p *pump) run() {
	defer p.close()
	for {
		if err := p.step(p.read); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && p.finishing.Load() {
				p.drain()
			}
			return
		}
	}
}

// step copies one buffer from read to dst.
func (p *pump) step(read func() (*[bufferSize]byte, int, error)) error {
	buf, n, err := read()
	if buf != nil {
		defer buffers.Put(buf)
	}
	if err != nil {
		return err
	}
	_, err = p.dst.Write(buf[:n])
	return err
}

// read waits until the stream is readable and only then takes a buffer.
func (p *pump) read() (buf *[bufferSize]byte, n int, err error) {
	conn, err := p.src.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	for {
		buf, n = nil, 0
		var got error
		err = conn.Read(func(fd uintptr) bool {
			if p.started = p.started || readable(int(fd)); !p.started {
				return false
			}
			buf, n, got = tryRead(int(fd))
			return !errors.Is(got, unix.EAGAIN)
		})
		if err == nil {
			err = got
		}
		if !errors.Is(err, unix.EIO) || p.onHangup == nil || !p.onHangup() {
			return buf, n, err
		}
	}
}

// readable reports whether a read would return at once, with data, EOF or an error.
func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n != 0 || err != nil
}

// tryRead reads without waiting. It returns io.EOF at the end of the stream, and a nil buffer with
// any error.
func tryRead(fd int) (*[bufferSize]byte, int, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	for {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			buffers.Put(buf)
			return nil, 0, err
		}
		return buf, n, nil
	}
}

// finish makes an output copy the data that is available now and then end.
func (p *pump) finish() {
	if p.output {
		p.finishing.Store(true)
		_ = p.src.SetReadDeadline(time.Now())
	}
}

func (p *pump) drain() {
	conn, err := p.src.SyscallConn()
	if err != nil {
		return
	}
	for range maxDrain / bufferSize {
		err := p.step(func() (buf *[bufferSize]byte, n int, err error) {
			if cerr := conn.Control(func(fd uintptr) { buf, n, err = tryRead(int(fd)) }); cerr != nil {
				return nil, 0, cerr
			}
			return buf, n, err
		})
		if err != nil {
			return
		}
	}
}

// close closes both sides, which ends the pump in any state.
func (p *pump) close() {
	if p.src != nil {
		_ = p.src.Close()
	}
	if p.dst != nil {
		_ = p.dst.Close()
	}
}
