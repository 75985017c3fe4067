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

	// drainLimit is the most that finish takes from a stream that others
	// keep writing to: what a pipe holds at most by default (pipe(7)).
	drainLimit = 1 << 20
)

// buffers is shared by all pumps of the process; an idle pump has none.
var buffers = sync.Pool{New: newBuffer}

func newBuffer() any { return new([bufferSize]byte) }

// pump copies one stream until it ends, and closes both sides.
type pump struct {
	src *os.File
	dst io.WriteCloser
	// output is false for stdin, whose rest nobody waits for. Closing both
	// sides of stdin hangs up a terminal, as its user did by ending it.
	output bool
	// hungUp, if set, tells whether to go on reading after EIO, which is
	// how a terminal says that no process has it open.
	hungUp    func() bool
	finishing atomic.Bool
	// started is set once there was something to read: until then no buffer is
	// taken to look.
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

// step moves one buffer from read to dst.
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

// read waits until there is something to read, and only then takes a buffer.
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
		if !errors.Is(err, unix.EIO) || p.hungUp == nil || !p.hungUp() {
			return buf, n, err
		}
	}
}

// readable tells whether there is something to read, or an end to be found.
func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n != 0 || err != nil
}

// tryRead reads what is there. The end of the stream is io.EOF; without a
// buffer there is an error.
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

// finish makes an output deliver what is there now and end.
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
	for range drainLimit / bufferSize {
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

// close ends the pump, wherever it is.
func (p *pump) close() {
	if p.src != nil {
		_ = p.src.Close()
	}
	if p.dst != nil {
		_ = p.dst.Close()
	}
}
