// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// life is the part of a container that exists only while the daemon runs: the task, the streams and
// the milestones of its exit. All versions of the container's record share one life. Several
// goroutines may find that a milestone is reached; only the first report has an effect.
type life struct {
	streams containerio.Streams
	ended   chan struct{} // closed by end: readers see the exit
	reaped  chan struct{} // closed by reap: the exit path no longer needs the task
	// exitEvent holds the first exit that an event of containerd reported.
	exitEvent chan taskExit
	// noShimExec is set when the shim has no service for ExecSync.
	noShimExec atomic.Bool
	// oomKilled is set when an event of containerd reports an out-of-memory kill.
	oomKilled atomic.Bool
	sent      sentEvents

	requests sync.Mutex // held during UpdateContainerResources, calls of plugins included
	updating sync.Mutex // held while resources are updated, shim calls included

	mu       sync.Mutex
	exiting  bool // the exit is claimed; see claimExit
	task     runtime.Task
	busy     string          // "start" or "remove" while one is in progress
	starting chan struct{}   // closed when the start in progress has ended
	signals  map[string]bool // stop signals that were sent
}

// sentEvents makes NRI's StopContainer and RemoveContainer single events. A second caller waits
// until the first has sent it.
type sentEvents struct {
	stop, remove sync.Once
	leaving      atomic.Bool // StopContainer is sent, or the container ended before this daemon
}

func newLife(streams containerio.Streams) *life {
	return &life{
		streams:   streams,
		ended:     make(chan struct{}),
		reaped:    make(chan struct{}),
		exitEvent: make(chan taskExit, 1),
		signals:   make(map[string]bool),
	}
}

// claimExit reports whether the caller is the first to find that the container has exited. Only the
// first caller records the exit.
func (l *life) claimExit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.exiting
	l.exiting = true
	return first
}

// end closes ended: readers see the exit.
func (l *life) end() { l.reach(l.ended) }

// reap closes reaped: the exit path no longer needs the task. The task is deleted, unless that
// failed; then Remove deletes it.
func (l *life) reap() { l.reach(l.reaped) }

func (l *life) reach(milestone chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-milestone:
	default:
		close(milestone)
	}
}

// claimSignal reports whether the caller may send a stop signal. A container gets each stop signal
// once, because programs treat a second one as an order to exit at once. unclaim releases the
// claim.
func (l *life) claimSignal(name string) (claimed bool, unclaim func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signals[name] {
		return false, nil
	}
	l.signals[name] = true
	return true, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.signals, name)
	}
}

// receiveExit keeps the first exit that an event of containerd reports.
func (l *life) receiveExit(e taskExit) {
	select {
	case l.exitEvent <- e:
	default:
	}
}

// waitExitEvent waits for the exit event of a task that is gone. containerd publishes the event
// before it deletes the task, but the event may arrive later.
func (l *life) waitExitEvent(ctx context.Context, timeout time.Duration) taskExit {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case end := <-l.exitEvent:
		return end
	case <-timer.C:
	case <-ctx.Done():
	}
	return taskExit{lost: true}
}

// receivedExit returns the exit that an event of containerd has reported, or a lost exit if there
// was no event.
func (l *life) receivedExit() taskExit {
	select {
	case end := <-l.exitEvent:
		return end
	default:
		return taskExit{lost: true}
	}
}

// begin claims the container for a start or a removal. done releases the claim.
func (l *life) begin(verb string) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy != "" {
		return nil, fmt.Errorf("a %s is in progress: %w", l.busy, errdefs.ErrFailedPrecondition)
	}
	l.busy = verb
	started := make(chan struct{})
	if verb == verbStart {
		l.starting = started
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy, l.starting = "", nil
		close(started)
	}, nil
}

const (
	verbStart  = "start"
	verbRemove = "remove"
)

// waitStarted waits until the start in progress, if any, is done.
func (l *life) waitStarted(ctx context.Context) error {
	l.mu.Lock()
	starting := l.starting
	l.mu.Unlock()
	if starting == nil {
		return nil
	}
	select {
	case <-starting:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the start in progress: %w", ctx.Err())
	}
}

func (l *life) setTask(t runtime.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.task = t
}

// task returns the task of a running container, or nil if the container is not running or its task
// is not known.
func (r *Record) task() runtime.Task {
	r.life.mu.Lock()
	defer r.life.mu.Unlock()
	if !r.running() {
		return nil
	}
	return r.life.task
}

// runningTask returns the task of a container, or FailedPrecondition if the container is not
// running.
func (r *Record) runningTask() (runtime.Task, error) {
	task := r.task()
	if task == nil {
		return nil, fmt.Errorf("%s is not running (%s): %w", r, stateName(r), errdefs.ErrFailedPrecondition)
	}
	return task, nil
}
