// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hangupPause is the pause before a reopen. Without it a terminal that is hung up repeatedly would
// use a whole CPU.
const hangupPause = 10 * time.Millisecond

// terminal is the pty master of a process.
//
// The master reads EIO whenever no process has the peer open. In a container that starts a login or
// changes its session, this happens long before the exit. The shim therefore keeps the peer open
// until the process has exited.
type terminal struct {
	master *os.File // non-blocking

	mu    sync.Mutex // guards the fields below
	peer  *os.File
	ended bool
}

func newTerminal(master *os.File) (*terminal, error) {
	t := &terminal{master: master}
	peer, err := t.openPeer()
	if err != nil {
		return nil, err
	}
	t.peer = peer
	return t, nil
}

// openPeer opens the peer by ioctl, because its path belongs to the container's mount namespace
// (TIOCGPTPEER, ioctl_tty(2), Linux 4.13).
func (t *terminal) openPeer() (*os.File, error) {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	var (
		fd    uintptr
		errno unix.Errno
	)
	err = conn.Control(func(master uintptr) {
		fd, _, errno = unix.Syscall(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: open pty peer: %w", err)
	}
	return os.NewFile(fd, "pts"), nil
}

// reopen is called after a hangup: the kernel hangs up a terminal when its controlling session
// ends. It returns false if the process has exited.
func (t *terminal) reopen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	time.Sleep(hangupPause)
	peer, err := t.openPeer()
	if err != nil {
		return false
	}
	_ = t.peer.Close()
	t.peer = peer
	return true
}

// exited closes the peer, so that the output ends when the last process closes the terminal.
func (t *terminal) exited() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	_ = t.peer.Close()
}

func (t *terminal) close() {
	t.exited()
	_ = t.master.Close()
}

func (t *terminal) resize(width, height uint16) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	var set error
	err = conn.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("terminal: resize: %w", err)
	}
	return nil
}
