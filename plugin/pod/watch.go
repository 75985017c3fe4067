// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// restarts is how many times the task of a pod is restarted within restartPeriod. A shim that
	// dies more often takes the pod with it, and the kubelet makes another.
	restarts      = 5
	restartPeriod = 10 * time.Minute
	// restartTimeout bounds one restart, restartPause and longer ones are between
	// its tries: containerd cleans up after a dead shim first.
	restartTimeout = 30 * time.Second
	restartPause   = 20 * time.Millisecond
	// watchPause is between the tries to watch a task whose shim does not answer.
	watchPause = time.Second
)

// watch is the goroutine that waits for the end of a pod's task.
type watch struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has returned
	shown  chan struct{} // closed when callers can see the pod

	restarted []time.Time // the last times of a restart; only the goroutine uses it

	mu    sync.Mutex
	there chan struct{} // closed while the task is there
}

func (w *watch) present() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.there)
}

func (w *watch) absent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.there = make(chan struct{})
}

func (w *watch) whenThere() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.there
}

// mayRestart reports whether the task may be restarted now, and counts it.
func (w *watch) mayRestart(now time.Time) bool {
	tooOld := func(t time.Time) bool { return now.Sub(t) >= restartPeriod }
	w.restarted = slices.DeleteFunc(w.restarted, tooOld)
	if len(w.restarted) >= restarts {
		return false
	}
	w.restarted = append(w.restarted, now)
	return true
}

// watches are the watches of pods.
type watches struct {
	mu   sync.Mutex
	byID map[string]*watch
}

func (all *watches) add(id string, w *watch) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.byID[id] = w
}

func (all *watches) get(id string) *watch {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.byID[id]
}

func (all *watches) forget(id string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.byID, id)
}

// watch follows the task of a pod. The caller closes shown when callers can see the pod.
func (m *Manager) watch(r *Record) *watch {
	ctx, cancel := context.WithCancel(m.life)
	w := &watch{cancel: cancel, done: make(chan struct{}), shown: make(chan struct{}), there: make(chan struct{})}
	m.watches.add(r.ID, w)
	guard.Go(ctx, &m.wait, "watch", func() {
		defer cancel()
		defer close(w.done)
		_ = guard.Keep(ctx, "watch "+r.String(), func() error { m.follow(ctx, w, r); return nil })
	})
	return w
}

// unwatch ends the watch of a pod: after it, only the caller starts or stops the pod's task.
func (m *Manager) unwatch(ctx context.Context, id string) error {
	w := m.watches.get(id)
	if w == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.done:
		m.watches.forget(id)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the restart of the pod's task: %w", ctx.Err())
	}
}

// AwaitTask waits for the task of a ready pod if that is being restarted: containers join its shim.
// A pod that is not ready has no task to wait for.
func (m *Manager) AwaitTask(ctx context.Context, id string) error {
	w := m.watches.get(id)
	if w == nil {
		return nil
	}
	select {
	case <-w.whenThere():
		return nil
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the pod's task: %w", ctx.Err())
	}
}

// follow is the life of a watch. With its init a pod loses its PID namespace, and
// every process in it: the pod is not ready any more. A holder holds nothing, as
// the pod's namespaces are pinned: it is restarted, and with it the pod's shim.
func (m *Manager) follow(ctx context.Context, w *watch, r *Record) {
	entry := log.G(ctx).WithField("pod", r.ID)
	for m.goesOn(ctx, w, r) {
		entry.Warn("the pod's task has ended, its shim may have died; restarting the task")
		err := m.restartTask(ctx, r)
		if err != nil && ctx.Err() == nil {
			entry.WithError(err).Error("the pod's task cannot be restarted; the pod is not ready any more")
			break
		}
	}
	select {
	case <-w.shown:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		m.markStopping(ctx, r.ID)
	}
}

// goesOn waits for the end of a pod's task, and reports whether to restart it: a holder that has
// not been restarted too often.
func (m *Manager) goesOn(ctx context.Context, w *watch, r *Record) bool {
	m.awaitEnd(ctx, w, r.ID)
	return ctx.Err() == nil && !r.HasInit && w.mayRestart(m.Now())
}

// awaitEnd returns when the task of a pod has ended, or does not exist. A shim that does not answer
// is asked again: it may be stuck for a while, and its pod runs.
func (m *Manager) awaitEnd(ctx context.Context, w *watch, id string) {
	for ctx.Err() == nil {
		exited, err := m.Tasks.Wait(ctx, id)
		if err == nil {
			w.present()
			defer w.absent()
			select {
			case <-exited:
			case <-ctx.Done():
			}
			return
		}
		if errdefs.IsNotFound(err) {
			return
		}
		log.G(ctx).WithError(err).WithField("pod", id).Debug("the pod's task cannot be watched yet")
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

// restartTask replaces a holder that has ended.
func (m *Manager) restartTask(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	for pause := restartPause; ; pause *= 2 {
		err := m.replaceTask(ctx, r)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (m *Manager) replaceTask(ctx context.Context, r *Record) error {
	if err := m.Tasks.Stop(ctx, r.ID); err != nil {
		return err
	}
	pid, err := m.Tasks.Start(ctx, r)
	if err != nil {
		return err
	}
	_, _, err = m.pods.Settle(ctx, r.ID, func(r *Record) *Record {
		return r.with(func(r *Record) { r.PID = pid })
	})
	return err
}
