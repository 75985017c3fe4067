// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hangupPause keeps a terminal that is hung up again and again from costing a
// processor.
const hangupPause = 10 * time.Millisecond

// terminal is the master side of a pseudo terminal.
//
// The master reads EIO whenever no process has the other side open, which in
// a container that starts a login or changes its session happens long before
// its end. The shim therefore keeps the other side open itself until the
// process has ended.
type terminal struct {
	master *os.File // non-blocking

	mu    sync.Mutex // guards what follows
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

// openPeer opens the other side without a path, which is one of the
// container's (TIOCGPTPEER, ioctl_tty(2), Linux 4.13).
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
		return nil, fmt.Errorf("terminal: open other side: %w", err)
	}
	return os.NewFile(fd, "pts"), nil
}

// reopen is called when the terminal was hung up, as the kernel does when a
// session that controls it ends. It returns false after the process's end.
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

// exited lets the output end with the last process that has the terminal open.
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
