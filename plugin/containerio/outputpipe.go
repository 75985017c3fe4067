// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// readSize is the size of the read buffer of an output, in bytes.
const readSize = 32 << 10

// outputPipe is a named pipe for one output of a container. A shim writes to it, and one goroutine
// reads it.
type outputPipe struct {
	*containerlog.Output
	name, path string
	reader     *os.File
	writeEnd   *os.File      // keeps the pipe open until the shim has opened it
	done       chan struct{} // closed at the end of the output
	started    sync.Once
}

func openOutputPipe(path, name string, to *containerlog.Output, create bool) (*outputPipe, error) {
	o := &outputPipe{Output: to, name: name, path: path, done: make(chan struct{})}
	var err error
	if o.reader, err = openPipe(o.path, os.O_RDONLY, create); err != nil {
		return nil, err
	}
	if !create {
		return o, nil
	}
	if o.writeEnd, err = openPipe(o.path, os.O_WRONLY, false); err != nil {
		o.reader.Close()
		return nil, err
	}
	return o, nil
}

// openPipe opens a named pipe and does not wait for the other end.
func openPipe(path string, flag int, create bool) (*os.File, error) {
	if create {
		if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
		}
	}
	return os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
}

// start reads the output to its end in the background.
func (o *outputPipe) start() {
	o.started.Do(func() {
		if o.writeEnd != nil {
			o.writeEnd.Close()
		}
		guard.Go(context.Background(), nil, "read", o.read)
	})
}

// read reads the output to its end. It continues after a panic in the log or in a client's writer:
// otherwise the container would block on a full pipe.
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
			_, _ = o.Write(buf[:n]) // takes all bytes
		}
		if err != nil {
			return
		}
	}
}

func (o *outputPipe) end() {
	_ = o.Close() // writes the last line; the log reports errors
	o.reader.Close()
}

// stop interrupts the read and waits until it has returned.
func (o *outputPipe) stop() {
	o.reader.Close()
	started := true
	o.started.Do(func() {
		started = false
		if o.writeEnd != nil {
			o.writeEnd.Close()
		}
		o.end()
		close(o.done)
	})
	if started {
		<-o.done
	}
}
