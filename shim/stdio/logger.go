// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const (
	// readyTimeout bounds the start of a binary logger.
	readyTimeout = 30 * time.Second
	// eofTimeout bounds the time until a binary logger exits after the end of its input, and
	// termTimeout after SIGTERM.
	eofTimeout  = time.Second
	termTimeout = 12 * time.Second
)

// logger is a binary logger: a program that reads stdout of the container from file descriptor 3
// and stderr from 4. It closes file descriptor 5 when it is ready, in version 2 of the protocol
// after writing a byte (containerd docs, cio.BinaryIO).
type logger struct {
	child    *reap.Child
	out, err *os.File // the write ends; nil after take
}

func isLogger(uri string) bool {
	return strings.HasPrefix(uri, "binary://") || strings.HasPrefix(uri, "binary-v2://")
}

// openLogger starts the binary logger that the configuration names; it returns nil if there is
// none.
func openLogger(ctx context.Context, cfg Config, owner Owner, children *reap.Reaper) (*logger, error) {
	if !isLogger(cfg.Stdout) {
		return nil, nil
	}
	return startLogger(ctx, cfg, owner, children)
}

func startLogger(ctx context.Context, cfg Config, owner Owner, children *reap.Reaper) (*logger, error) {
	cmd, err := loggerCommand(cfg.Stdout, owner)
	if err != nil {
		return nil, err
	}
	// The container writes to the binary logger directly; only the output of a terminal is copied.
	open := blockingPipe
	if cfg.Terminal {
		open = newPipe
	}
	l := &logger{}
	var given []*os.File
	defer func() { closeAll(given...) }()
	for _, end := range []**os.File{&l.out, &l.err} {
		reader, writer, err := open(owner)
		if err != nil {
			l.stop()
			return nil, err
		}
		given = append(given, reader)
		*end = writer
	}
	ready, readyWriter, err := os.Pipe()
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("stdio: binary logger: %w", err)
	}
	defer ready.Close()
	given = append(given, readyWriter)
	cmd.ExtraFiles = given
	if l.child, err = children.Start(ctx, cmd); err != nil {
		l.stop()
		return nil, fmt.Errorf("stdio: start binary logger: %w", err)
	}
	closeAll(given...)
	given = nil
	if err := awaitReady(ctx, ready, strings.HasPrefix(cfg.Stdout, "binary-v2:")); err != nil {
		l.stop()
		return nil, fmt.Errorf("stdio: binary logger %s: %w", cmd.Path, err)
	}
	return l, nil
}

// loggerCommand builds the command of a URI. Each key and each value of the query is an argument,
// in the order of the URI.
func loggerCommand(uri string, owner Owner) (*exec.Cmd, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("stdio: %w: %w", errdefs.ErrInvalidArgument, err)
	}
	var args []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(key)
		value, verr := url.QueryUnescape(value)
		if err := errors.Join(kerr, verr); err != nil {
			return nil, fmt.Errorf("stdio: %w: %w", errdefs.ErrInvalidArgument, err)
		}
		if key != "" {
			args = append(args, key, value)
		}
	}
	cmd := exec.Command(u.Path, args...)
	cmd.Env = []string{"CONTAINER_ID=" + owner.ID, "CONTAINER_NAMESPACE=" + owner.Namespace}
	return cmd, nil
}

func awaitReady(ctx context.Context, ready *os.File, strict bool) error {
	_ = ready.SetReadDeadline(time.Now().Add(readyTimeout))
	stop := context.AfterFunc(ctx, guard.Catch(ctx, "stop waiting for the binary logger", func() { _ = ready.SetReadDeadline(time.Now()) }, nil))
	defer stop()
	n, err := ready.Read(make([]byte, 1))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("wait until ready: %w", err)
	case n == 0 && strict:
		return fmt.Errorf("exited before it was ready: %w", errdefs.ErrUnavailable)
	default:
		return nil
	}
}

// take returns the write ends; the caller closes them.
func (l *logger) take() (out, err *os.File) {
	out, err = l.out, l.err
	l.out, l.err = nil, nil
	return out, err
}

// stop closes the input of the program and waits for its exit, then sends SIGTERM, then SIGKILL.
func (l *logger) stop() {
	closeAll(l.take())
	if l.child == nil {
		return
	}
	waitFor(l.child.Done(), eofTimeout)
	_ = l.child.Signal(unix.SIGTERM)
	waitFor(l.child.Done(), termTimeout)
	_ = l.child.Signal(unix.SIGKILL)
	<-l.child.Done()
}

func blockingPipe(owner Owner) (reader, writer *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
	}
	reader, writer = os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe")
	if owner.UID != 0 || owner.GID != 0 {
		if err := writer.Chown(owner.UID, owner.GID); err != nil {
			closeAll(reader, writer)
			return nil, nil, fmt.Errorf("stdio: pipe: %w", err)
		}
	}
	return reader, writer, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
