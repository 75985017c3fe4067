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

// BecomeSubreaper makes orphans among the descendants of this process its
// children (prctl(2), PR_SET_CHILD_SUBREAPER).
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// Reaper knows which children somebody waits for.
type Reaper struct {
	mu    sync.Mutex
	known map[int]struct{}
	holds int
	swept chan struct{}
}

// New returns a Reaper. Run must be called for orphans to be reaped.
func New() *Reaper {
	return &Reaper{known: make(map[int]struct{}), swept: make(chan struct{}, 1)}
}

// Run reaps orphans until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		guard.Catch(ctx, "reap orphans", r.sweep, nil)()
		select {
		case <-signals:
		case <-r.swept:
		case <-ctx.Done():
			return
		}
	}
}

// Hold keeps unknown zombies alive until release is called. It covers the time
// in which a command runs whose child, or whose own process, has no known
// number yet.
func (r *Reaper) Hold() (release func()) {
	r.mu.Lock()
	r.holds++
	r.mu.Unlock()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.holds--
		r.mu.Unlock()
		r.kick()
	})
}

// Start starts a command that outlives the call, such as a logging program.
// cmd.Wait must not be called: the Child replaces it. ctx is that of Watch.
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

// kick asks Run for a sweep.
func (r *Reaper) kick() {
	select {
	case r.swept <- struct{}{}:
	default:
	}
}

func (r *Reaper) forget(pid int) {
	r.mu.Lock()
	delete(r.known, pid)
	r.mu.Unlock()
	r.kick()
}

// sweep reaps zombies until it meets one that somebody waits for, or might
// wait for soon. That one's owner asks for the next sweep after reaping it.
func (r *Reaper) sweep() {
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
	if _, known := r.known[pid]; known || r.holds > 0 {
		return false
	}
	_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil
}

// siginfoPid is where siginfo_t holds si_pid: after three ints, aligned for
// the union that follows them.
const siginfoPid = (3*4 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)

// peekZombie returns the number of a child that has ended, and leaves it.
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
