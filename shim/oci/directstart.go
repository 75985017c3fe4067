// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// stateFile and execFifo are files in runc's state directory (libcontainer, factory_linux.go). A
// container is in the state created as long as the FIFO exists.
const (
	stateFile = "state.json"
	execFifo  = "exec.fifo"
)

// StartDirectly starts a created container as `runc start` does, but without running runc: it reads
// the FIFO that the init writes to (libcontainer, Container.exec). ended is closed when the init
// has exited.
//
// StartDirectly returns false, and has no effect, if `start` of the runtime must be called instead:
// the runtime is not runc, or the container is not in the state created. It must not be called for
// a container with poststart hooks, because some versions of runc run them in start
// (docs/decisions/0011).
func (r *Runtime) StartDirectly(ctx context.Context, id string, ended <-chan struct{}) (bool, error) {
	fifo, err := r.openFifo(id)
	if err != nil {
		return false, nil // the start command returns the proper error
	}
	defer fifo.Close()
	stop := make(chan struct{})
	defer close(stop)
	go guard.Catch(ctx, "stop waiting for the init", func() {
		select {
		case <-ended:
		case <-ctx.Done():
		case <-stop:
			return
		}
		_ = fifo.SetReadDeadline(time.Now())
	}, nil)()
	data, err := read(fifo)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		data, err = append(data, readNow(fifo)...), nil
	}
	switch {
	case len(data) > 0: // the init runs, even if ctx or the deadline has ended meanwhile
	case ctx.Err() != nil:
		return true, fmt.Errorf("OCI runtime start interrupted: %w", context.Cause(ctx))
	case err != nil:
		return true, fmt.Errorf("OCI runtime start: %w", err)
	default:
		return true, errors.New("OCI runtime start failed: container process is already dead")
	}
	if err := os.Remove(fifo.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, fmt.Errorf("OCI runtime start: %w", err)
	}
	return true, nil
}

// openFifo opens the FIFO of a container that runc has created. crun has a FIFO of the same name,
// but there the init reads and start writes.
func (r *Runtime) openFifo(id string) (*os.File, error) {
	if err := r.requireRunc(); err != nil {
		return nil, err
	}
	dir := filepath.Join(r.cli.Root, id)
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, execFifo), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
}

// requireRunc returns errors.ErrUnsupported for another runtime than runc.
func (r *Runtime) requireRunc() error {
	if name := filepath.Base(r.cli.Command); r.cli.Command != "" && name != runc.DefaultCommand {
		return fmt.Errorf("OCI runtime %s: %w", name, errors.ErrUnsupported)
	}
	return nil
}

// read waits until the init has opened the FIFO, because an earlier read would return EOF, and then
// reads the one byte that the init writes.
func read(fifo *os.File) ([]byte, error) {
	conn, err := fifo.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = conn.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		return n > 0 && err == nil
	})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(fifo)
}

// readNow reads what the FIFO has without waiting.
func readNow(fifo *os.File) []byte {
	data := make([]byte, 1)
	n := 0
	if conn, err := fifo.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), data) })
	}
	return data[:max(n, 0)]
}
