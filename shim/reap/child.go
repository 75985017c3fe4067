// SPDX-License-Identifier: Apache-2.0

package reap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// StatusUnknown is the exit status of a process that could not be waited for.
	StatusUnknown = 255
	// StatusKilled is that of one that SIGKILL has ended.
	StatusKilled = 128 + int(unix.SIGKILL)
)

// Exit is how and when a process ended. Status is the exit code, or 128 plus
// the number of the signal that ended the process.
type Exit struct {
	Status int
	At     time.Time
}

// Child is a watched process.
type Child struct {
	pid    int
	reaper *Reaper
	pidfd  *os.File
	done   chan struct{}
	exit   Exit // written before done is closed
}

// Watch waits for the process in the background. The process must not have
// been reaped: call it under a Hold that began before the process did. ctx is for what is
// logged; its end does not end the wait.
func (r *Reaper) Watch(ctx context.Context, pid int) (*Child, error) {
	pidfd, err := openPidfd(pid)
	if err != nil {
		return nil, err
	}
	return r.watch(ctx, pid, pidfd), nil
}

func (r *Reaper) watch(ctx context.Context, pid int, pidfd *os.File) *Child {
	c := &Child{
		pid:    pid,
		reaper: r,
		pidfd:  pidfd,
		done:   make(chan struct{}),
	}
	r.mu.Lock()
	r.known[pid] = struct{}{}
	r.mu.Unlock()
	c.follow(ctx, c.wait)
	return c
}

func (c *Child) follow(ctx context.Context, wait func()) {
	go guard.Catch(ctx, fmt.Sprintf("wait for process %d", c.pid), wait, c.giveUp)()
}

func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: open pidfd: %w", pid, err)
	}
	// Non-blocking before os.NewFile: that is what makes Go's poller take it.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("process %d: pidfd: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// AwaitEnd returns when a child of this process has ended, and leaves it to
// its owner to reap it.
func AwaitEnd(pid int) error {
	pidfd, err := openPidfd(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return awaitReadable(pidfd)
}

// awaitReadable sleeps in Go's poller, which costs no thread.
func awaitReadable(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(readable)
}

// Pid returns the number of the process.
func (c *Child) Pid() int { return c.pid }

// Done is closed when the process has ended and was reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit returns how the process ended. It may be called after Done is closed.
func (c *Child) Exit() Exit { return c.exit }

// Signal sends a signal through the pidfd. A process that has ended is
// errdefs.ErrNotFound, a number that is no signal errdefs.ErrInvalidArgument.
func (c *Child) Signal(sig unix.Signal) error {
	return c.send(sig, func(pidfd int) error { return unix.PidfdSendSignal(pidfd, sig, nil, 0) })
}

// KillGroup kills the process with its process group, if it leads one. Errors are
// those of Signal.
func (c *Child) KillGroup() error {
	return c.send(unix.SIGKILL, func(pidfd int) error {
		// While it is not reaped the number is its own.
		if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
			return err
		}
		if group, err := unix.Getpgid(c.pid); err == nil && group == c.pid {
			return unix.Kill(-group, unix.SIGKILL)
		}
		return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	})
}

// send calls signal with the pidfd, if the process was not reaped.
func (c *Child) send(sig unix.Signal, signal func(pidfd int) error) error {
	sent := error(unix.ESRCH) // what a pidfd closed after reaping stands for
	if conn, err := c.pidfd.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { sent = signal(int(fd)) })
	}
	switch {
	case sent == nil:
		return nil
	case errors.Is(sent, unix.ESRCH):
		return fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)
	case errors.Is(sent, unix.EINVAL):
		return fmt.Errorf("signal %d: %w", sig, errdefs.ErrInvalidArgument)
	default:
		return fmt.Errorf("process %d: send signal %d: %w", c.pid, sig, sent)
	}
}

func (c *Child) wait() { c.finish(c.collect()) }

// giveUp ends a process that cannot be waited for: nobody would learn of its end.
func (c *Child) giveUp(error) {
	_ = c.Signal(unix.SIGKILL)
	c.finish(Exit{Status: StatusUnknown, At: time.Now()})
}

func (c *Child) finish(exit Exit) {
	c.exit = exit
	close(c.done)
	_ = c.pidfd.Close()
	c.reaper.forget(c.pid)
}

// collect waits for the end of the process, and reaps it.
func (c *Child) collect() Exit {
	polled := awaitReadable(c.pidfd)
	at := time.Now()
	var (
		status unix.WaitStatus
		err    error
	)
	for {
		// Blocks while a tracer holds on to the zombie, and until the end of a process whose pidfd
		// Go's poller refuses (epoll_ctl(2), ENOSPC and ENOMEM): it costs a thread, but no status.
		_, err = unix.Wait4(c.pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if polled != nil {
		at = time.Now()
	}
	switch {
	case err != nil:
		return Exit{Status: StatusUnknown, At: at}
	case status.Signaled():
		return Exit{Status: 128 + int(status.Signal()), At: at}
	default:
		return Exit{Status: status.ExitStatus(), At: at}
	}
}

func readable(fd uintptr) bool {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(polled, 0)
	return n > 0 && err == nil
}
