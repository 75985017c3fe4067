// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	signals     = 64 // highest signal
	sigsetSize  = 8  // size of the kernel's sigset_t
	exitRefused = 255
)

// sigaction is the kernel's struct sigaction.
type sigaction struct{ handler, flags, restorer, mask uint64 }

// child has everything that the child uses. The Go runtime does not work in a forked process, which
// has one thread: functions that run in the child must not allocate, and must be marked nosplit,
// because the start of any other function may call the scheduler.
type child struct {
	program
	mask    uint64 // signals that were blocked when this program was started
	message [2]byte
	initial sigaction // SIG_DFL
}

// fork creates the child in the PID namespace that this thread has joined, with the shim as its
// parent. Its memory is a copy: a process of the container that could trace the child would reach
// no thread with more privileges.
func (p *program) fork() error {
	c := &child{program: *p}
	// Signals are blocked, because a handler of the Go runtime must not run in the child.
	all := ^uint64(0)
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&c.mask)), sigsetSize, 0, 0); errno != 0 {
		return fmt.Errorf("block signals: %w", errno)
	}
	if errno := c.clone(); errno != 0 {
		return fmt.Errorf("fork: %w", errno)
	}
	return nil
}

// clone returns in this process only.
//
//go:noinline
//go:norace
//go:nosplit
func (c *child) clone() unix.Errno {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		c.run()
	}
	return errno
}

// run is all that the child does. It does not return.
//
//go:norace
//go:nosplit
func (c *child) run() {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		exit()
	}
	// A signal that a process of the container has sent must end the child, not run a handler. runc
	// resets ignored signals, too.
	for signal := uintptr(1); signal <= signals; signal++ {
		// SIGKILL and SIGSTOP are an error.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&c.initial)), 0, sigsetSize, 0, 0)
	}
	c.message[0] = Ready
	c.send(1)
	n, _, errno := unix.RawSyscall(unix.SYS_READ, SocketFile, uintptr(unsafe.Pointer(&c.message)), 1)
	if errno != 0 || n != 1 || c.message[0] != Go {
		exit()
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.mask)), 0, sigsetSize, 0, 0)
	_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)),
		uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envp[0])))
	c.message[0], c.message[1] = Refused, byte(errno)
	c.send(2)
	exit()
}

//go:norace
//go:nosplit
func (c *child) send(n uintptr) {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, SocketFile, uintptr(unsafe.Pointer(&c.message)), n, unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		exit()
	}
}

//go:norace
//go:nosplit
func exit() {
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, exitRefused, 0, 0)
	}
}
