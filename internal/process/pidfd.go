// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a pidfd of a process, for [Await].
func Open(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: open pidfd: %w", pid, err)
	}
	// os.NewFile registers a descriptor with Go's poller only if it is non-blocking.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("process %d: set pidfd non-blocking: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Await returns when the process of a pidfd has ended. It does not reap the process.
func Await(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(readable)
}

// AwaitEnd returns when a child of this process has ended. It does not reap the child.
func AwaitEnd(pid int) error {
	pidfd, err := Open(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return Await(pidfd)
}

func readable(fd uintptr) bool {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(polled, 0)
	return n > 0 && err == nil
}
