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
	// readerTimeout bounds how long Open waits for readers of the output, as in
	// containerd-shim-runc-v2.
	readerTimeout      = 30 * time.Second
	readerPollInterval = time.Millisecond
)

// openSinks opens the destinations of stdout and stderr; nil for none. A binary logger needs none,
// and a terminal has only one.
func openSinks(ctx context.Context, cfg Config, log *shimLog) (sinks [2]io.WriteCloser, err error) {
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

// splitURI returns the scheme ("" for a plain path) and the path.
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

// openFIFO waits until a process has opened the FIFO for reading, and then opens it. Otherwise the
// output of a process that exits before its reader opens the FIFO would be lost, and the reader
// would wait indefinitely.
//
// After that the reader may disconnect and reconnect: the FIFO is open in both directions and keeps
// its data, so that a container without a reader blocks and is not killed by SIGPIPE.
func openFIFO(ctx context.Context, path string) (*os.File, error) {
	for {
		// ENXIO means that there is no reader (fifo(7)).
		w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer w.Close()
			return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		}
		if !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
		select {
		case <-time.After(readerPollInterval):
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

// openSource opens the FIFO of stdin. The returned writer prevents EOF while no client is
// connected.
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

// newPipe returns a pipe into the container. The container's end is blocking, as programs expect;
// the shim's end is not.
func newPipe(owner Owner) (inside, outside *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	return setUpPipe(fds[0], fds[1], owner)
}

// newOutputPipe returns a pipe out of the container.
func newOutputPipe(owner Owner) (outside, inside *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	inside, outside, err = setUpPipe(fds[1], fds[0], owner)
	return outside, inside, err
}

func setUpPipe(in, out int, owner Owner) (inside, outside *os.File, err error) {
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
