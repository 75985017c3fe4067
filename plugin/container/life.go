// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stdio"
)

// life is the course of a container while the daemon runs: its task and streams, and the milestones
// of its end. All versions of the container's record share one. Each milestone may be reported
// again, by whichever goroutine finds that it is reached: a second report has no effect.
type life struct {
	streams stdio.Streams
	ended   chan struct{} // closed by end: readers see the exit
	reaped  chan struct{} // closed by reap: the exit is saved and the task is deleted
	// announced holds the exit that containerd announced, if it did.
	announced chan exit
	// oomKilled is true once containerd has announced an out-of-memory kill.
	oomKilled atomic.Bool

	updating sync.Mutex // held by an update of the resources, shim calls included

	mu       sync.Mutex
	exiting  bool // the exit is claimed; see claimExit
	task     runtime.Task
	busy     string          // "start" or "remove" while one is in progress
	starting chan struct{}   // closed when the start in progress has ended
	signals  map[string]bool // the stop signals that were sent
}

func newLife(streams stdio.Streams) *life {
	return &life{
		streams:   streams,
		ended:     make(chan struct{}),
		reaped:    make(chan struct{}),
		announced: make(chan exit, 1),
		signals:   make(map[string]bool),
	}
}

// claimExit reports whether the caller is the first to find that the container has ended. Only that
// one records the exit.
func (l *life) claimExit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.exiting
	l.exiting = true
	return first
}

// end reports that readers see the exit.
func (l *life) end() { l.reach(l.ended) }

// reap reports that the task is deleted, too.
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

// claimSignal reports whether a stop signal is to be sent: once in the life of a container, as
// programs take a second one as an order to end at once. unclaim takes the claim back.
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

// announce keeps the first exit that containerd announces.
func (l *life) announce(e exit) {
	select {
	case l.announced <- e:
	default:
	}
}

// waitAnnounced returns the exit that containerd announced of a task that is
// gone. It has announced it before the task went, but the news may be on its way.
func (l *life) waitAnnounced(ctx context.Context, patience time.Duration) exit {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case end := <-l.announced:
		return end
	case <-timer.C:
	case <-ctx.Done():
	}
	return exit{lost: true}
}

// heard returns the exit that containerd has announced, lost if it has not.
func (l *life) heard() exit {
	select {
	case end := <-l.announced:
		return end
	default:
		return exit{lost: true}
	}
}

// begin claims the container for a start or a removal. done gives it back.
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

// waitStarted waits for a start in progress, if there is one, to end.
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

// task returns the task of a running container, nil for one that does not run.
func (r *Record) task() runtime.Task {
	r.life.mu.Lock()
	defer r.life.mu.Unlock()
	if !r.running() {
		return nil
	}
	return r.life.task
}

// runningTask returns the task of a container that must run.
func (r *Record) runningTask() (runtime.Task, error) {
	task := r.task()
	if task == nil {
		return nil, fmt.Errorf("%s is not running (%s): %w", r, stateName(r), errdefs.ErrFailedPrecondition)
	}
	return task, nil
}
