// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/output"
)

// readSize is how much of an output is read at a time, in bytes.
const readSize = 32 << 10

// outputPipe is a named pipe that a shim writes one output of a container to,
// and that one goroutine reads.
type outputPipe struct {
	*output.Output
	name, path string
	reader     *os.File
	keeper     *os.File      // our write end, until the shim has its own
	done       chan struct{} // closed when the output has ended
	started    sync.Once
}

func openOutput(path, name string, log io.WriteCloser, create bool) (*outputPipe, error) {
	o := &outputPipe{Output: output.New(log), name: name, path: path, done: make(chan struct{})}
	var err error
	if o.reader, err = openPipe(path, os.O_RDONLY, create); err != nil {
		return nil, err
	}
	if !create {
		return o, nil
	}
	if o.keeper, err = openPipe(path, os.O_WRONLY, false); err != nil {
		o.reader.Close()
		return nil, err
	}
	return o, nil
}

// openPipe opens a named pipe without waiting for its other end.
func openPipe(path string, flag int, create bool) (*os.File, error) {
	if create {
		if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
		}
	}
	return os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
}

// start reads the output in the background, until its end.
func (o *outputPipe) start() {
	o.started.Do(func() {
		if o.keeper != nil {
			o.keeper.Close()
		}
		guard.Go(context.Background(), nil, "read", o.read)
	})
}

// read reads the output to its end, also after a panic on its way to the log: the container must
// not wait for a reader.
func (o *outputPipe) read() {
	defer close(o.done)
	defer o.end()
	_ = guard.Keep(context.Background(), "read "+o.path, func() error { o.copy(); return nil })
}

// copy returns at the end of the output, or when the pipe is closed.
func (o *outputPipe) copy() {
	buf := make([]byte, readSize)
	for {
		n, err := o.reader.Read(buf)
		if n > 0 {
			_, _ = o.Write(buf[:n]) // takes everything
		}
		if err != nil {
			return
		}
	}
}

func (o *outputPipe) end() {
	_ = o.Close() // writes the last line; errors are reported by crilog
	o.reader.Close()
}

// close ends the reading and waits for it.
func (o *outputPipe) close() {
	o.reader.Close()
	started := true
	o.started.Do(func() {
		started = false
		if o.keeper != nil {
			o.keeper.Close()
		}
		o.end()
		close(o.done)
	})
	if started {
		<-o.done
	}
}
