// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// Options describes the streams of a container and where they go.
type Options struct {
	ID        string // of the container
	Dir       string // of the pipes
	Prefix    string // of the names of the pipes
	Log       containerlog.Destination
	Terminal  bool // stdout and stderr are one stream
	Stdin     bool
	StdinOnce bool     // the container's stdin ends with that of the first client
	ShimLogs  ShimLogs // nil for a daemon-written log
}

// pipe returns the path of the pipe of a stream.
func (o Options) pipe(stream string) string { return filepath.Join(o.Dir, o.Prefix+stream) }

// Streams are the standard streams of one container.
type Streams interface {
	// Creator returns a function that passes the paths of the streams to containerd's client. The
	// client must not wait for the streams or close them: they belong to the container, not to its
	// task.
	Creator() cio.Creator
	// Connect starts to read the output. The shim must have opened its ends: from now on, an output
	// that no process has open for writing has ended.
	Connect()
	// Drain waits until all output of an exited process is in the log, or until ctx ends.
	Drain(ctx context.Context) error
	// ReopenLog continues the log in a new file with the same name.
	ReopenLog(ctx context.Context) error
	// Attach connects a client until the container's output ends, the client disconnects or ctx
	// ends. A client that closes its stdin is detached, with one exception: with StdinOnce and
	// without a terminal, the container's stdin is closed and the client gets the output to its
	// end.
	Attach(ctx context.Context, opts AttachOptions) error
	// Close closes the streams and removes the pipes. It may be called more than once.
	Close() error
	// Release closes the daemon's ends of the streams. It keeps the pipes for the next daemon.
	Release()
}

// Open creates the streams of a container that was not started yet.
func Open(opts Options) (Streams, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	s, err := open(opts, true)
	if err != nil {
		_ = os.RemoveAll(opts.Dir)
		return nil, err
	}
	return s, nil
}

// Load opens the streams of a container that an earlier daemon started, and continues to read. It
// does not wait for the shim: if there is no shim, the output has ended.
func Load(opts Options) (Streams, error) {
	s, err := open(opts, false)
	if err != nil {
		return nil, err
	}
	s.Connect()
	return s, nil
}

func open(opts Options, create bool) (Streams, error) {
	if opts.ShimLogs != nil {
		return openShimWritten(opts, create)
	}
	return openDaemonWritten(opts, create)
}

// Closed returns the streams of a container that has exited, or whose streams could not be opened.
// They refuse a new task, whose output would be lost.
func Closed() Streams { return closed{new(daemonWritten)} }

type closed struct{ *daemonWritten }

func (closed) Creator() cio.Creator {
	return func(string) (cio.IO, error) {
		return nil, fmt.Errorf("container streams: lost when the daemon restarted; recreate the container: %w", errdefs.ErrFailedPrecondition)
	}
}

// ioConfig is a cio.IO that only has the paths of the streams.
type ioConfig struct{ config cio.Config }

func (n ioConfig) Config() cio.Config { return n.config }
func (ioConfig) Cancel()              {}
func (ioConfig) Wait()                {}
func (ioConfig) Close() error         { return nil }

func creator(config cio.Config) cio.Creator {
	return func(string) (cio.IO, error) { return ioConfig{config}, nil }
}

// AttachOptions connects a client to the streams of a container. A nil stream is not connected.
type AttachOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// CloseStdin closes stdin in the shim. It is called after this package has closed its own end.
	CloseStdin func()
}

// writer returns the client's writer for an output.
func (o AttachOptions) writer(output string) io.Writer {
	if output == stderr {
		return o.Stderr
	}
	return o.Stdout
}

// errStdinEnded ends an attach after the client has closed its stdin.
var errStdinEnded = errors.New("stdin has ended")

// attachResult returns the result of an attach whose first error is err.
func attachResult(err error) error {
	if errors.Is(err, errStdinEnded) {
		return nil
	}
	return err
}
