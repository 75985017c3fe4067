// SPDX-License-Identifier: Apache-2.0

package reap

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// BecomeSubreaper makes this process the parent of orphans among its descendants (prctl(2),
// PR_SET_CHILD_SUBREAPER).
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// Reaper reaps orphans and leaves the watched children to the goroutines that wait for them.
type Reaper struct {
	mu            sync.Mutex
	watched       map[int]struct{}
	holds         int
	sweepRequests chan struct{}
}

// New returns a Reaper. It reaps orphans only while Run runs.
func New() *Reaper {
	return &Reaper{watched: make(map[int]struct{}), sweepRequests: make(chan struct{}, 1)}
}

// Run reaps orphans until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		guard.Catch(ctx, "reap orphans", r.reapOrphans, nil)()
		select {
		case <-signals:
		case <-r.sweepRequests:
		case <-ctx.Done():
			return
		}
	}
}

// Hold keeps zombies that are not watched from being reaped until release is called. It covers the
// time in which a command runs: its process, or a child that it leaves behind, is not watched yet.
func (r *Reaper) Hold() (release func()) {
	r.mu.Lock()
	r.holds++
	r.mu.Unlock()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.holds--
		r.mu.Unlock()
		r.requestSweep()
	})
}

// Start starts a command that outlives the call, such as a binary logger. The returned Child
// replaces cmd.Wait, which must not be called. ctx is that of Watch.
func (r *Reaper) Start(ctx context.Context, cmd *exec.Cmd) (*Child, error) {
	defer r.Hold()()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	child, err := r.Watch(ctx, cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	_ = cmd.Process.Release()
	return child, nil
}

// requestSweep makes Run call reapOrphans.
func (r *Reaper) requestSweep() {
	select {
	case r.sweepRequests <- struct{}{}:
	default:
	}
}

func (r *Reaper) forget(pid int) {
	r.mu.Lock()
	delete(r.watched, pid)
	r.mu.Unlock()
	r.requestSweep()
}

// reapOrphans reaps zombies until it finds one that is watched, or any zombie during a Hold. When a
// watched child is reaped and when a Hold ends, another sweep is requested.
func (r *Reaper) reapOrphans() {
	for r.reapOne() {
	}
}

func (r *Reaper) reapOne() bool {
	pid, ok := peekZombie()
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, watched := r.watched[pid]; watched || r.holds > 0 {
		return false
	}
	_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil
}

// siginfoPid is the offset of si_pid in siginfo_t: after three ints, aligned for the union that
// follows them.
const siginfoPid = (3*4 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)

// peekZombie returns the PID of a child that has ended, without reaping it.
func peekZombie() (int, bool) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, false
		}
		pid := *(*int32)(unsafe.Add(unsafe.Pointer(&info), siginfoPid))
		return int(pid), pid > 0
	}
}
