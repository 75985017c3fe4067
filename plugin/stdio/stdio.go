// SPDX-License-Identifier: Apache-2.0

// Package stdio connects the standard streams of one container, whatever shim
// it has: named pipes that the shim writes to, the container's log in the
// format of the CRI, and the clients that attach.
//
// The pipes have two ends, and neither side's restart may end them. While the
// shim has not opened its end, ours keeps the pipe open (see Streams.Connect);
// from then on the end of the output is that the shim has closed it. A pipe
// outlives the daemon: what the container writes meanwhile waits in it, and
// [Load] reads on.
//
// The package calls crilog and nothing else of the program. Each output has one
// goroutine that reads it, from Connect to its end or to Close. Locking:
// output.mu guards the set of attached clients and is never held across I/O.
package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/crilog"
)

// Options say which streams a container has and where they go.
type Options struct {
	ID        string // of the container, for messages
	Dir       string // of the pipes
	LogDir    string // log_directory of the pod
	LogName   string // log_path of the container; "" discards the output
	MaxLine   int    // longest line in the log, in bytes; see crilog
	Terminal  bool   // one output stream for both
	Stdin     bool
	StdinOnce bool // stdin ends with the first client that attached to it
}

// Streams are the standard streams of one container. The zero value has none
// and is closed.
type Streams struct {
	opts    Options
	log     *crilog.Writer // nil when the output is discarded
	outputs []*output      // stdout, and stderr without a terminal
	stdin   *os.File       // nil without stdin
	once    sync.Once
}

// Open makes the streams of a container that is to be started.
func Open(opts Options) (*Streams, error) {
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
func Load(opts Options) (*Streams, error) {
	s, err := open(opts, false)
	if err != nil {
		return nil, err
	}
	s.Connect()
	return s, nil
}

func open(opts Options, create bool) (_ *Streams, err error) {
	s := &Streams{opts: opts}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if opts.LogName != "" {
		if s.log, err = crilog.Open(opts.LogDir, opts.LogName, crilog.Options{MaxLine: opts.MaxLine, OnError: s.logFailed}); err != nil {
			return nil, err
		}
	}
	names := []string{crilog.Stdout, crilog.Stderr}
	if opts.Terminal {
		names = names[:1]
	}
	for _, name := range names {
		o, err := openOutput(filepath.Join(opts.Dir, name), name, create)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if s.log != nil {
			o.log = s.log.Stream(name)
		}
		s.outputs = append(s.outputs, o)
	}
	if opts.Stdin {
		// Read-write: opening must not wait for the shim, and the pipe must
		// outlive a shim that opens it late.
		if s.stdin, err = openPipe(s.stdinPath(), os.O_RDWR, create); err != nil {
			return nil, fmt.Errorf("stdin: %w", err)
		}
	}
	return s, nil
}

func (s *Streams) stdinPath() string { return filepath.Join(s.opts.Dir, "stdin") }

func (s *Streams) logFailed(err error) {
	log.L.WithError(err).WithField("container", s.opts.ID).Error("log is not written; the container goes on")
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

// Creator gives containerd's client the paths of the pipes. The client must
// not wait for or close the streams: they are the container's, not the task's.
func (s *Streams) Creator() cio.Creator {
	config := cio.Config{Terminal: s.opts.Terminal}
	for _, o := range s.outputs {
		switch o.name {
		case crilog.Stdout:
			config.Stdout = o.path
		case crilog.Stderr:
			config.Stderr = o.path
		}
	}
	if s.stdin != nil {
		config.Stdin = s.stdinPath()
	}
	return func(string) (cio.IO, error) { return paths{config}, nil }
}

// paths is a cio.IO that is nothing but the paths.
type paths struct{ config cio.Config }

func (p paths) Config() cio.Config { return p.config }
func (paths) Cancel()              {}
func (paths) Wait()                {}
func (paths) Close() error         { return nil }

// Connect starts to read the output. The shim must have opened its ends: from
// now on an output that nobody has open has ended.
func (s *Streams) Connect() {
	for _, o := range s.outputs {
		o.start()
	}
}

// Drain waits until all output is read and in the log, or until ctx ends.
func (s *Streams) Drain(ctx context.Context) error {
	for _, o := range s.outputs {
		select {
		case <-o.done:
		case <-ctx.Done():
			return fmt.Errorf("read %s to its end: %w", o.name, ctx.Err())
		}
	}
	return nil
}

// ReopenLog makes the log go on in a new file of the same name.
func (s *Streams) ReopenLog() error {
	if s.log == nil {
		return nil
	}
	return s.log.Reopen()
}

// Close ends the streams and removes the pipes. It may be called again.
func (s *Streams) Close() error {
	s.release()
	return os.RemoveAll(s.opts.Dir) // "" is nothing
}

// Release closes our ends of the streams and leaves the pipes, for the daemon
// that comes after this one.
func (s *Streams) Release() { s.release() }

func (s *Streams) release() {
	s.once.Do(func() {
		for _, o := range s.outputs {
			o.close()
		}
		if s.stdin != nil {
			s.stdin.Close()
		}
		if s.log != nil {
			if err := s.log.Close(); err != nil {
				s.logFailed(err)
			}
		}
	})
}
