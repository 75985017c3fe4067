// SPDX-License-Identifier: Apache-2.0

// Package group finds the one shim of a group of tasks, or makes room for it.
//
// A group owns a Slot: a socket path that follows from the group's name, and a
// lock file beside it. Whoever starts, replaces or retires the shim of a group
// holds the lock, so that of two starts at once one starts the shim and the
// other joins it, and a shim that retires never removes the socket of its
// successor. Joining is a call, not a successful connect: the shim that agrees
// also promises to stay until the task arrives.
package group

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// Service has the calls by which a task joins a running shim, and by which it is
// called off. Their messages are those of the task service's Connect. To Join, a
// shim that is about to end answers errdefs.ErrUnavailable.
const (
	Service = "containerd.lite.shim.v1.Group"
	Join    = "Join"
	Leave   = "Leave"
)

const (
	// maxPath is what fits into sockaddr_un with its end mark, see unix(7).
	maxPath = 106

	joinTimeout = 3 * time.Second
	lockPause   = 2 * time.Millisecond
)

// Slot is the place of the shim of one group.
type Slot struct {
	path string
}

// NewSlot returns the slot of a group of tasks. The address of containerd is
// part of the name, as two of them may use one socket directory.
func NewSlot(dir, containerd, namespace, group string) (Slot, error) {
	name := fmt.Sprintf("lite\x00%s\x00%s\x00%s", containerd, namespace, group)
	path := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(name))))
	if len(path) > maxPath {
		return Slot{}, fmt.Errorf("shim socket: directory %s is longer than %d bytes: set a shorter socket_dir: %w",
			dir, maxPath-sha256.Size*2-1, errdefs.ErrInvalidArgument)
	}
	return Slot{path: path}, nil
}

// At returns the slot whose socket has a known path.
func At(path string) Slot { return Slot{path: path} }

// Path is the path of the socket.
func (s Slot) Path() string { return s.path }

// Address is the address of the socket as containerd dials it.
func (s Slot) Address() string { return "unix://" + s.path }

// Lock takes the slot for this process until unlock is called.
func (s Slot) Lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("shim socket: make directory: %w", err)
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
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("shim socket: lock: %w", ctx.Err())
		}
	}
}

// tryLock returns nil if another process holds the lock, or has just removed
// the file that it was on.
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

func (s Slot) lockPath() string { return s.path + ".lock" }

// Join asks the shim in the slot to wait for a task. It returns false if there
// is no shim, or one that is ending. A shim that does not answer is an error:
// replacing it would cut off the tasks it has. The caller holds the lock.
func (s Slot) Join(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("shim of the group: %w", err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	err = client.Call(ctx, Service, Join, &taskapi.ConnectRequest{ID: id}, &taskapi.ConnectResponse{})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ttrpc.ErrClosed), errdefs.IsUnavailable(errgrpc.ToNative(err)):
		return false, nil
	default:
		return false, fmt.Errorf("shim of the group: join: %w", err)
	}
}

// Listen makes the socket, in the place of one that a lost shim left. The
// caller holds the lock.
func (s Slot) Listen() (*os.File, error) {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("shim socket: remove stale one: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	return f, nil
}

// Remove removes the files of the slot. The caller holds the lock, and has
// nothing left to do under it: the next holder locks a new file.
func (s Slot) Remove() {
	_ = os.Remove(s.path)
	_ = os.Remove(s.lockPath())
}

// Retire removes the files of the slot if its socket is still the one that
// own describes, and not that of a successor.
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

// CallOff tells the shim in the slot not to wait for a task: containerd can be
// killed between the start of a shim and the creation of the task. If no shim
// listens there, the files of the slot are removed.
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
		return fmt.Errorf("shim of the group: call off: %w", err)
	}
	return nil
}
