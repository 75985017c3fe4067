// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
)

// Options say which streams a container has and where they go.
type Options struct {
	ID        string // of the container
	Dir       string // of the pipes
	LogDir    string // log_directory of the pod
	LogName   string // log_path of the container; "" discards the output
	MaxLine   int    // longest line in the log, in bytes; see crilog
	Terminal  bool   // one output stream for both
	Stdin     bool
	StdinOnce bool // stdin ends with the first client that attached to it
	Shim      Shim // writes the log; nil for a shim that does not
}

// Streams are the standard streams of one container.
type Streams interface {
	// Creator gives containerd's client the names of the streams. The client
	// must not wait for or close them: they are the container's, not the task's.
	Creator() cio.Creator
	// Connect starts to read the output. The shim must have opened its ends:
	// from now on an output that nobody has open has ended.
	Connect()
	// Drain waits until all output of a process that has ended is in the log, or
	// until ctx ends.
	Drain(ctx context.Context) error
	// ReopenLog makes the log go on in a new file of the same name.
	ReopenLog(ctx context.Context) error
	// Attach connects a client until the container's output ends, the client
	// goes or ctx ends. A client that closes its stdin is detached, unless stdin
	// is for one client only: then the container sees the end of it, and the
	// client its output to the end.
	Attach(ctx context.Context, opts AttachOptions) error
	// Close ends the streams and removes the pipes. It may be called again.
	Close() error
	// Release closes our ends of the streams and leaves the pipes, for the
	// daemon that comes after this one.
	Release()
}

// Open makes the streams of a container that is to be started.
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

// Load opens the streams of a container that was started by an earlier daemon
// and reads on. It does not wait for the shim: with no shim the output has
// ended.
func Load(opts Options) (Streams, error) {
	s, err := open(opts, false)
	if err != nil {
		return nil, err
	}
	s.Connect()
	return s, nil
}

func open(opts Options, create bool) (Streams, error) {
	if opts.Shim != nil {
		return openByShim(opts, create)
	}
	return openPiped(opts, create)
}

// Closed returns the streams of a container that has ended, or that could not be
// opened. No task can be made with them: its output would be lost.
func Closed() Streams { return closed{new(piped)} }

type closed struct{ *piped }

func (closed) Creator() cio.Creator {
	return func(string) (cio.IO, error) {
		return nil, fmt.Errorf("container streams: not there since the daemon was started again (create the container anew): %w", errdefs.ErrFailedPrecondition)
	}
}

// names is a cio.IO that is nothing but the names of the streams.
type names struct{ config cio.Config }

func (n names) Config() cio.Config { return n.config }
func (names) Cancel()              {}
func (names) Wait()                {}
func (names) Close() error         { return nil }

func creator(config cio.Config) cio.Creator {
	return func(string) (cio.IO, error) { return names{config}, nil }
}

// AttachOptions connect a client to the streams of a container. A nil stream is
// not connected.
type AttachOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// CloseStdin closes the shim's side of stdin, once ours is closed for good.
	CloseStdin func()
}

// writer returns where a client wants an output.
func (o AttachOptions) writer(output string) io.Writer {
	if output == stderr {
		return o.Stderr
	}
	return o.Stdout
}

// errStdinEnded ends an attach whose client has closed its stdin.
var errStdinEnded = errors.New("stdin has ended")

// attached is the result of an attach whose parts ended with err.
func attached(err error) error {
	if errors.Is(err, errStdinEnded) {
		return nil
	}
	return err
}
