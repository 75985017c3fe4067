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

// Files of runc's state directory (libcontainer, factory_linux.go). A container
// is created as long as the FIFO is there.
const (
	stateFile = "state.json"
	execFifo  = "exec.fifo"
)

// Release does what `runc start` does, without running it: it lets the init of
// a created container go on by reading the FIFO that the init writes to
// (libcontainer, Container.exec). ended is closed when the init has ended.
//
// It returns false, and has done nothing, where only the command knows what to
// do: the runtime is not runc, or the container is not created. A container with
// poststart hooks must not be released: some versions of runc run them in start
// (docs/decisions/0011).
func (r *Runtime) Release(ctx context.Context, id string, ended <-chan struct{}) (bool, error) {
	fifo, err := r.openFifo(id)
	if err != nil {
		return false, nil // the command says what is wrong
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
	case len(data) > 0: // it runs, whatever else has happened meanwhile
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

// openFifo opens the FIFO of a container that runc has created. crun has one of
// that name, too, but is told the other way round.
func (r *Runtime) openFifo(id string) (*os.File, error) {
	if name := filepath.Base(r.cli.Command); r.cli.Command != "" && name != runc.DefaultCommand {
		return nil, fmt.Errorf("OCI runtime %s: %w", name, errors.ErrUnsupported)
	}
	dir := filepath.Join(r.cli.Root, id)
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, execFifo), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
}

// read waits for the init to open the FIFO, until when a read would find its
// end, and reads the one byte that the init writes.
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

// readNow reads what is there when no more is waited for.
func readNow(fifo *os.File) []byte {
	data := make([]byte, 1)
	n := 0
	if conn, err := fifo.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), data) })
	}
	return data[:max(n, 0)]
}
