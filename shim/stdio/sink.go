// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const (
	// readerTimeout is how long a process waits for those who read its
	// output, as with containerd-shim-runc-v2.
	readerTimeout = 30 * time.Second
	readerPause   = time.Millisecond
)

// openSinks opens the destinations of stdout and stderr, nil for none. With a
// logging program there are none, and a terminal has one.
func openSinks(ctx context.Context, cfg Config, log *containerLog) (sinks [2]io.WriteCloser, err error) {
	if isLogger(cfg.Stdout) {
		return sinks, nil
	}
	if log != nil {
		return log.sinks(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, readerTimeout)
	defer cancel()
	uris := []string{cfg.Stdout, cfg.Stderr}
	if cfg.Terminal {
		uris = uris[:1]
	}
	for i, uri := range uris {
		if uri == "" {
			continue
		}
		f, err := openSink(ctx, uri)
		if err != nil {
			if sinks[0] != nil {
				_ = sinks[0].Close()
			}
			return [2]io.WriteCloser{}, err
		}
		sinks[i] = f
	}
	return sinks, nil
}

// openSink opens the destination of an output stream.
func openSink(ctx context.Context, uri string) (*os.File, error) {
	scheme, path, err := splitURI(uri)
	if err != nil {
		return nil, err
	}
	var f *os.File
	switch scheme {
	case "", "fifo":
		f, err = openExisting(ctx, path)
	case "file":
		f, err = openAppend(path)
	default:
		return nil, fmt.Errorf("stdio: scheme %q, want fifo, file, cri-log, binary or binary-v2: %w", scheme, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return nil, fmt.Errorf("stdio: open output: %w", err)
	}
	return f, nil
}

// splitURI returns the scheme, "" for a plain path, and the path.
func splitURI(uri string) (scheme, path string, err error) {
	path = uri
	if !strings.HasPrefix(uri, "/") {
		u, err := url.Parse(uri)
		if err != nil {
			return "", "", fmt.Errorf("stdio: %w: %w", errdefs.ErrInvalidArgument, err)
		}
		scheme, path = u.Scheme, u.Path
	}
	if !filepath.IsAbs(path) {
		return "", "", fmt.Errorf("stdio: %q has no absolute path: %w", uri, errdefs.ErrInvalidArgument)
	}
	return scheme, path, nil
}

func openExisting(ctx context.Context, path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeNamedPipe {
		return openFIFO(ctx, path)
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
}

// openFIFO waits until somebody has the FIFO open for reading, and opens it.
// A process that ended before its reader came would take its output along,
// and leave the reader waiting for ever.
//
// From then on it does not matter whether the reader is there, gone for a
// while or restarted: open for both directions, the FIFO keeps what it has,
// and the container is held back, never killed by SIGPIPE.
func openFIFO(ctx context.Context, path string) (*os.File, error) {
	for {
		// ENXIO says that there is no reader (fifo(7)).
		w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer w.Close()
			return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		}
		if !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
		select {
		case <-time.After(readerPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: wait for a reader: %w", path, ctx.Err())
		}
	}
}

func openAppend(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
}

// openSource opens the FIFO that feeds a process. The writer keeps it from
// ending while no client is connected.
func openSource(path string) (reader, writer *os.File, err error) {
	reader, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("stdio: open stdin: %w", err)
	}
	writer, err = os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		_ = reader.Close()
		return nil, nil, fmt.Errorf("stdio: open stdin: %w", err)
	}
	return reader, writer, nil
}

// newPipe returns a pipe into the container: its end blocks, as programs
// expect, ours does not.
func newPipe(owner Owner) (inside, outside *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	return dressPipe(fds[0], fds[1], owner)
}

// newOutputPipe returns a pipe out of the container.
func newOutputPipe(owner Owner) (outside, inside *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	inside, outside, err = dressPipe(fds[1], fds[0], owner)
	return outside, inside, err
}

func dressPipe(in, out int, owner Owner) (inside, outside *os.File, err error) {
	err = unix.SetNonblock(out, true)
	inside, outside = os.NewFile(uintptr(in), "pipe"), os.NewFile(uintptr(out), "pipe")
	if err == nil && (owner.UID != 0 || owner.GID != 0) {
		err = inside.Chown(owner.UID, owner.GID)
	}
	if err != nil {
		_ = inside.Close()
		_ = outside.Close()
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	return inside, outside, nil
}
