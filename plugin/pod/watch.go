// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

const (
	// restarts is how many times the task of a pod is started anew. A shim that
	// dies more often takes the pod with it, and the kubelet makes another.
	restarts = 5
	// restartLimit bounds one of them, restartPause and longer ones are between
	// its tries: containerd cleans up after a dead shim first.
	restartLimit = 30 * time.Second
	restartPause = 20 * time.Millisecond
)

// watch is the goroutine that waits for the end of a pod's task.
type watch struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has returned

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

// watches are the watches of the pods that are ready.
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

// watch follows the task of a ready pod.
func (m *Manager) watch(r *Record) {
	ctx, cancel := context.WithCancel(m.life)
	w := &watch{cancel: cancel, done: make(chan struct{}), there: make(chan struct{})}
	m.watches.add(r.ID, w)
	m.wait.Go(func() {
		defer cancel()
		defer close(w.done)
		m.follow(ctx, w, r)
	})
}

// unwatch ends the watch of a pod: after it, nobody but the caller starts or
// stops the pod's task.
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
		return fmt.Errorf("wait for the task that is started anew: %w", ctx.Err())
	}
}

// AwaitTask waits for the task of a ready pod, if it is just being started anew:
// containers join its shim. Nobody waits for that of a pod that is not ready.
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
// the pod's namespaces are pinned: it is started anew, and with it the pod's shim.
func (m *Manager) follow(ctx context.Context, w *watch, r *Record) {
	entry := log.G(ctx).WithField("pod", r.ID)
	for try := 0; ; try++ {
		if err := m.awaitEnd(ctx, w, r.ID); err != nil {
			entry.WithError(err).Error("the pod's task is not watched")
			return
		}
		if ctx.Err() != nil {
			return
		}
		if r.HasInit || try >= restarts {
			break
		}
		entry.Warn("the pod's task has ended, its shim may have died; it is started anew")
		err := m.startAnew(ctx, r)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			entry.WithError(err).Error("the pod's task is not started anew; the pod is not ready any more")
			break
		}
	}
	if err := m.markStopping(ctx, r.ID); err != nil && !errdefs.IsNotFound(err) {
		entry.WithError(err).Error("the pod's task has ended, which is not saved")
	}
}

// awaitEnd returns when the task of a pod has ended, or does not exist.
func (m *Manager) awaitEnd(ctx context.Context, w *watch, id string) error {
	exited, err := m.Tasks.Wait(ctx, id)
	switch {
	case err == nil:
		w.present()
		<-exited
		w.absent()
	case !errdefs.IsNotFound(err) && ctx.Err() == nil:
		return err
	}
	return nil
}

// startAnew replaces a holder that has ended.
func (m *Manager) startAnew(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, restartLimit)
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
	_, err = m.pods.Update(ctx, r.ID, func(r *Record) (*Record, error) {
		return r.with(func(r *Record) { r.PID = pid }), nil
	})
	return err
}
