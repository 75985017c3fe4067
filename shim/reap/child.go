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
	"github.com/containerd-lite/containerd-lite/internal/process"
)

const (
	// StatusUnknown is the exit status of a process that could not be waited for.
	StatusUnknown = 255
	// StatusKilled is the exit status of a process that SIGKILL has ended.
	StatusKilled = 128 + int(unix.SIGKILL)
)

// Exit describes how and when a process ended. Status is the exit code, or 128 plus the number of
// the signal that ended the process.
type Exit struct {
	Status int
	At     time.Time
}

// Child is a watched process.
type Child struct {
	pid    int
	reaper *Reaper
	pidfd  *os.File
	end    End
	exit   Exit // written before end
}

// Watch waits for the process in the background. The process must not have been reaped: the caller
// has a Hold that began before the process was created. ctx carries the logger; the wait does not
// end with it.
func (r *Reaper) Watch(ctx context.Context, pid int) (*Child, error) {
	pidfd, err := process.Open(pid)
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
		end:    NewEnd(),
	}
	r.mu.Lock()
	r.watched[pid] = struct{}{}
	r.mu.Unlock()
	c.waitAsync(ctx, c.wait)
	return c
}

func (c *Child) waitAsync(ctx context.Context, wait func()) {
	go guard.Catch(ctx, fmt.Sprintf("wait for process %d", c.pid), wait, c.killUnwaited)()
}

// Pid returns the PID.
func (c *Child) Pid() int { return c.pid }

// Pidfd returns a copy of the pidfd. After the process was reaped, the error is
// errdefs.ErrNotFound, or the copy refers to no process.
func (c *Child) Pidfd() (*os.File, error) {
	var pidfd *os.File
	err := c.send(0, func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			pidfd = os.NewFile(uintptr(dup), "pidfd")
		}
		return err
	})
	return pidfd, err
}

// Done returns a channel that is closed when the process has ended and is reaped.
func (c *Child) Done() <-chan struct{} { return c.end.Done() }

// AfterExit calls f in a goroutine of its own when Done is closed.
func (c *Child) AfterExit(f func()) { c.end.After(f) }

// Exit returns how the process ended. It must not be called before Done is closed.
func (c *Child) Exit() Exit { return c.exit }

// Signal sends a signal through the pidfd. The error is errdefs.ErrNotFound if the process has
// ended, and errdefs.ErrInvalidArgument if sig is not a valid signal.
func (c *Child) Signal(sig unix.Signal) error {
	return c.send(sig, func(pidfd int) error { return unix.PidfdSendSignal(pidfd, sig, nil, 0) })
}

// KillGroup kills the process and, if it is the leader of its process group, the group. The errors
// are those of Signal.
func (c *Child) KillGroup() error {
	return c.send(unix.SIGKILL, func(pidfd int) error {
		// Until the process is reaped, its PID is not reused.
		if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
			return err
		}
		if group, err := unix.Getpgid(c.pid); err == nil && group == c.pid {
			return unix.Kill(-group, unix.SIGKILL)
		}
		return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	})
}

// send calls signal with the pidfd. It returns errdefs.ErrNotFound if the process was reaped.
func (c *Child) send(sig unix.Signal, signal func(pidfd int) error) error {
	sent := error(unix.ESRCH) // the error for a pidfd that was closed after reaping
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

func (c *Child) wait() { c.finish(c.waitAndReap()) }

// killUnwaited kills the process and reports its exit, after a panic in the goroutine that waits
// for it.
func (c *Child) killUnwaited(error) {
	_ = c.Signal(unix.SIGKILL)
	c.finish(Exit{Status: StatusUnknown, At: time.Now()})
}

func (c *Child) finish(exit Exit) {
	c.exit = exit
	c.end.Reached()
	_ = c.pidfd.Close()
	c.reaper.forget(c.pid)
}

// waitAndReap waits for the exit of the process and reaps it.
func (c *Child) waitAndReap() Exit {
	polled := process.Await(c.pidfd)
	at := time.Now()
	var (
		status unix.WaitStatus
		err    error
	)
	for {
		// Wait4 blocks while a tracer holds the zombie. It also blocks until the exit of a process
		// whose pidfd Go's poller refuses (epoll_ctl(2), ENOSPC and ENOMEM): that costs a thread,
		// but no exit status is lost.
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
