// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"os"
	"time"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// receiveTimeout bounds the wait for a runtime that has sent no terminal.
const receiveTimeout = 10 * time.Second

// Console receives the terminal of a process from the runtime.
type Console struct {
	socket *runc.Socket
}

// NewConsole makes a socket in a directory that only this user can enter.
func NewConsole() (*Console, error) {
	socket, err := runc.NewTempConsoleSocket()
	if err != nil {
		return nil, fmt.Errorf("terminal: make socket: %w", err)
	}
	return &Console{socket: socket}, nil
}

// Receive returns the master side, non-blocking. It is called after the
// runtime's command has succeeded and so has sent it.
func (c *Console) Receive() (*os.File, error) {
	defer time.AfterFunc(receiveTimeout, c.Close).Stop()
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

// Close removes the socket.
func (c *Console) Close() {
	_ = c.socket.Close()
}
