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
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

const (
	// maxRestarts is how many times the task of a pod is restarted within restartPeriod. When a
	// shim dies more often, the pod is no longer ready, and the kubelet creates another.
	maxRestarts   = 5
	restartPeriod = 10 * time.Minute
	// restartTimeout bounds one restart. restartDelay is the pause before the second attempt and
	// doubles with each: containerd has to clean up after a dead shim first.
	restartTimeout = 30 * time.Second
	restartDelay   = 20 * time.Millisecond
	// waitRetryPeriod is the pause between attempts to wait for a task whose shim does not answer.
	waitRetryPeriod = time.Second
)

// watch waits for the end of a pod's task in a goroutine, and restarts holders.
type watch struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine returns
	visible chan struct{} // closed when callers can see the pod

	restarted []time.Time // restarts within restartPeriod; used by the goroutine only

	mu      sync.Mutex
	running chan struct{} // closed while the task runs
}

func (w *watch) markRunning() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.running)
}

func (w *watch) markGone() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = make(chan struct{})
}

func (w *watch) whenRunning() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

// mayRestart reports whether the task may be restarted now, and counts the restart.
func (w *watch) mayRestart(now time.Time) bool {
	tooOld := func(t time.Time) bool { return now.Sub(t) >= restartPeriod }
	w.restarted = slices.DeleteFunc(w.restarted, tooOld)
	if len(w.restarted) >= maxRestarts {
		return false
	}
	w.restarted = append(w.restarted, now)
	return true
}

// watches are the watches of all pods.
type watches struct {
	ctx     context.Context // ends all watches
	pods    *podStore
	tasks   Tasks
	now     func() time.Time
	running sync.WaitGroup // the goroutine of each watch

	mu   sync.Mutex
	byID map[string]*watch
}

func newWatches(ctx context.Context, pods *podStore, tasks Tasks, now func() time.Time) *watches {
	return &watches{ctx: ctx, pods: pods, tasks: tasks, now: now, byID: make(map[string]*watch)}
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

// start starts to watch the task of a pod. The caller closes visible when callers can see the pod.
func (all *watches) start(r *Record) *watch {
	ctx, cancel := context.WithCancel(all.ctx)
	w := &watch{cancel: cancel, done: make(chan struct{}), visible: make(chan struct{}), running: make(chan struct{})}
	all.add(r.ID, w)
	guard.Go(ctx, &all.running, "watch", func() {
		defer cancel()
		defer close(w.done)
		_ = guard.Keep(ctx, "watch "+r.String(), func() error { all.watchTask(ctx, w, r); return nil })
	})
	return w
}

// end ends the watch of a pod. After that, only the caller of end starts or stops the pod's task.
func (all *watches) end(ctx context.Context, id string) error {
	w := all.get(id)
	if w == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.done:
		all.forget(id)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the restart of the pod's task: %w", ctx.Err())
	}
}

// await waits while the task of a watched pod is being restarted.
func (all *watches) await(ctx context.Context, id string) error {
	w := all.get(id)
	if w == nil {
		return nil
	}
	select {
	case <-w.whenRunning():
		return nil
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the pod's task: %w", ctx.Err())
	}
}

// watchTask waits for the end of a pod's task. When an init ends, the pod loses its PID namespace
// with all processes and is no longer ready. When a holder ends, usually with its shim, the pod
// keeps its pinned namespaces: the holder and the shim are restarted.
func (all *watches) watchTask(ctx context.Context, w *watch, r *Record) {
	entry := log.G(ctx).WithField("pod", r.ID)
	for all.awaitRestart(ctx, w, r) {
		entry.Warn("the pod's task has ended, probably because its shim died; restarting it")
		err := all.restartTask(ctx, r)
		if err != nil && ctx.Err() == nil {
			entry.WithError(err).Error("restart of the pod's task failed; the pod is no longer ready")
			break
		}
	}
	select {
	case <-w.visible:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		all.pods.markStopping(ctx, r.ID)
	}
}

// awaitRestart waits for the end of a pod's task, and reports whether to restart it: holders are
// restarted, but not too often.
func (all *watches) awaitRestart(ctx context.Context, w *watch, r *Record) bool {
	all.awaitEnd(ctx, w, r.ID)
	entry := log.G(ctx).WithField("pod", r.ID)
	switch {
	case ctx.Err() != nil:
		return false
	case r.HasInit:
		entry.Info("the pod's init has exited; the pod is no longer ready")
		return false
	case !w.mayRestart(all.now()):
		entry.Errorf("the pod's task has ended more than %d times within %s; the pod is no longer ready", maxRestarts, restartPeriod)
		return false
	}
	return true
}

// awaitEnd returns when the task of a pod has ended or does not exist. It retries while the shim
// does not answer: the pod runs on, and the shim may answer later.
func (all *watches) awaitEnd(ctx context.Context, w *watch, id string) {
	for ctx.Err() == nil {
		exited, err := all.tasks.Wait(ctx, id)
		if err == nil {
			w.markRunning()
			defer w.markGone()
			select {
			case <-exited:
			case <-ctx.Done():
			}
			return
		}
		if errdefs.IsNotFound(err) {
			return
		}
		log.G(ctx).WithError(err).WithField("pod", id).Debug("wait for the pod's task did not succeed; will retry")
		select {
		case <-time.After(waitRetryPeriod):
		case <-ctx.Done():
		}
	}
}

// restartTask replaces a holder that has ended.
func (all *watches) restartTask(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	for pause := restartDelay; ; pause *= 2 {
		err := all.replaceTask(ctx, r)
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

func (all *watches) replaceTask(ctx context.Context, r *Record) error {
	if err := all.tasks.Stop(ctx, r.ID); err != nil {
		return err
	}
	pid, err := all.tasks.Start(ctx, r)
	if err != nil {
		return err
	}
	metrics.TasksReplaced.Inc()
	_, _, err = all.pods.Settle(ctx, r.ID, func(r *Record) *Record {
		return r.with(func(r *Record) { r.PID = pid })
	})
	return err
}
