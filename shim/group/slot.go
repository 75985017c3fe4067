// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
)

const (
	joinTimeout       = 3 * time.Second
	lockRetryInterval = 2 * time.Millisecond
)

// Slot is the socket path of one shim, and the lock of its group.
type Slot struct {
	path string
}

// At returns the slot of a socket path.
func At(path string) Slot { return Slot{path: path} }

// Path returns the path of the socket.
func (s Slot) Path() string { return s.path }

// Address returns the address of the socket in the form in which containerd dials it.
func (s Slot) Address() string { return "unix://" + s.path }

// Lock locks all slots of the group for this process until unlock is called.
func (s Slot) Lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("shim socket: create directory: %w", err)
	}
	for {
		f, err := s.tryLock()
		if err != nil {
			return nil, fmt.Errorf("shim socket: lock: %w", err)
		}
		if f != nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-time.After(lockRetryInterval):
		case <-ctx.Done():
			return nil, fmt.Errorf("shim socket: lock: %w", ctx.Err())
		}
	}
}

// tryLock returns nil if another process holds the lock, or has just removed the file that was
// locked.
func (s Slot) tryLock() (*os.File, error) {
	f, err := os.OpenFile(s.lockPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(f, s.lockPath()) {
		return f, nil
	}
	_ = f.Close()
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
		return nil, err
	}
	return nil, nil
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func (s Slot) lockPath() string { return strings.TrimSuffix(s.path, filepath.Ext(s.path)) + ".lock" }

// Join asks the shim in the slot to wait for a task; call is Join or JoinPod. It returns false if
// no shim listens or the shim is exiting. A shim that has no room or does not answer is an error:
// the caller must not replace it, as its tasks would lose their shim.
func (s Slot) Join(ctx context.Context, call, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("shim socket: connect: %w", err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	err = client.Call(ctx, Service, call, &taskapi.ConnectRequest{ID: id}, &taskapi.ConnectResponse{})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ttrpc.ErrClosed), errdefs.IsUnavailable(errgrpc.ToNative(err)):
		return false, nil
	default:
		return false, fmt.Errorf("shim socket %s: join: %w", s.path, err)
	}
}

// Listen creates the socket and replaces one that a lost shim left. The caller holds the lock.
func (s Slot) Listen() (*os.File, error) {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("shim socket: remove stale socket: %w", err)
	}
	return shimprocess.Listen(s.path)
}

// Remove removes the files of the slot, with the lock file. It must be the last step of a caller
// that holds the lock, because the next process locks a new file.
func (s Slot) Remove() {
	_ = os.Remove(s.path)
	_ = os.Remove(s.lockPath())
}

// Retire removes the files of the slot unless its socket is that of a successor. own describes the
// socket of the caller.
func (s Slot) Retire(ctx context.Context, own fs.FileInfo) error {
	unlock, err := s.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := os.Lstat(s.path)
	if err == nil && !os.SameFile(own, now) {
		return nil
	}
	s.Remove()
	return nil
}

// CallOff asks the shim in the slot to stop waiting for a task: containerd can be killed between
// the start of a shim and the creation of the task. If no shim listens, CallOff removes the files
// of the slot.
func (s Slot) CallOff(ctx context.Context, id string) error {
	unlock, err := s.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
			s.Remove()
		}
		return nil
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	if err := client.Call(ctx, Service, Leave, &taskapi.ConnectRequest{ID: id}, &taskapi.ConnectResponse{}); err != nil {
		return fmt.Errorf("shim socket %s: leave: %w", s.path, err)
	}
	return nil
}
