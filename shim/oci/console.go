// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// receiveTimeout bounds the wait for a terminal that the runtime did not send.
const receiveTimeout = 10 * time.Second

// Console receives the pty master of a process from the OCI runtime.
type Console struct {
	socket *runc.Socket
	dir    *os.File
}

// NewConsole creates a socket in a new directory of the bundle that only this user can enter. The
// path of a bundle may be longer than the path of a socket can be (unix(7), sun_path), so the
// socket is named through the file descriptor of the open directory.
func NewConsole(bundle string) (*Console, error) {
	path, err := os.MkdirTemp(bundle, "terminal-")
	if err != nil {
		return nil, fmt.Errorf("terminal: make directory: %w", err)
	}
	c := &Console{}
	if c.dir, err = os.Open(path); err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if c.socket, err = runc.NewConsoleSocket(filepath.Join(fdPath(c.dir), "socket")); err != nil {
		c.Close()
		return nil, fmt.Errorf("terminal: make socket: %w", err)
	}
	return c, nil
}

// Receive returns the pty master, non-blocking. It is called after the runtime's command has
// succeeded and so has sent the master.
func (c *Console) Receive() (*os.File, error) {
	defer time.AfterFunc(receiveTimeout, guard.Catch(context.Background(), "close terminal socket", c.Close, nil)).Stop()
	master, err := c.socket.ReceiveMaster()
	if err != nil {
		return nil, fmt.Errorf("terminal: receive: %w", err)
	}
	defer master.Close()
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), nil
}

// Close removes the socket. It may be called more than once.
func (c *Console) Close() {
	if c.socket != nil {
		_ = c.socket.Close()
	}
	_ = os.RemoveAll(c.dir.Name())
	_ = c.dir.Close()
}
