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

// live is what a container has only while the daemon runs. All versions of its
// record share one.
type live struct {
	streams stdio.Streams
	ended   chan struct{} // closed when the exit is in the record
	reaped  chan struct{} // closed when the task is deleted, too
	// announced holds the exit that containerd announced, if it did.
	announced chan exit
	// starved is true once containerd has announced an out-of-memory kill.
	starved atomic.Bool

	updating sync.Mutex // held by an update of the resources, shim calls included

	mu       sync.Mutex
	task     runtime.Task
	busy     string        // "start" or "remove" while one is under way
	starting chan struct{} // closed when the start under way has ended
}

func newLive(streams stdio.Streams) *live {
	return &live{
		streams:   streams,
		ended:     make(chan struct{}),
		reaped:    make(chan struct{}),
		announced: make(chan exit, 1),
	}
}

// announce keeps the first exit that containerd announces.
func (l *live) announce(e exit) {
	select {
	case l.announced <- e:
	default:
	}
}

// waitAnnounced returns the exit that containerd announced of a task that is
// gone. It has announced it before the task went, but the news may be on its way.
func (l *live) waitAnnounced(ctx context.Context, patience time.Duration) exit {
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
func (l *live) heard() exit {
	select {
	case end := <-l.announced:
		return end
	default:
		return exit{lost: true}
	}
}

// begin claims the container for a start or a removal. done gives it back.
func (l *live) begin(verb string) (done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy != "" {
		return nil, fmt.Errorf("a %s is under way: %w", l.busy, errdefs.ErrFailedPrecondition)
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

// waitStarted waits for a start under way, if there is one, to end.
func (l *live) waitStarted(ctx context.Context) error {
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
		return fmt.Errorf("wait for the start under way: %w", ctx.Err())
	}
}

func (l *live) setTask(t runtime.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.task = t
}

// task returns the task of a running container, nil for one that does not run.
func (r *Record) task() runtime.Task {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	if !r.running() {
		return nil
	}
	return r.live.task
}

// runningTask returns the task of a container that must run.
func (r *Record) runningTask() (runtime.Task, error) {
	task := r.task()
	if task == nil {
		return nil, fmt.Errorf("%s is not running (%s): %w", r, stateName(r), errdefs.ErrFailedPrecondition)
	}
	return task, nil
}
