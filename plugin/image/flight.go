// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"sync"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// flights deduplicates concurrent calls with the same key: they share one run of the work. The work
// is not bound to the call that started it. It is cancelled when its last caller has left, or when
// the service ends.
type flights struct {
	ctx context.Context // ends with the service

	mu      sync.Mutex
	closed  bool
	running map[string]*flight // guarded by mu
	workers sync.WaitGroup
}

// flight is one run of the work.
type flight struct {
	cancel  context.CancelFunc
	callers int // guarded by flights.mu

	done chan struct{}
	// result and err are written before done is closed.
	result string
	err    error
}

func newFlights(ctx context.Context) *flights {
	return &flights{ctx: ctx, running: map[string]*flight{}}
}

// do returns the result of work. If work with this key is in progress, do joins it. do returns the
// error of ctx as soon as ctx ends. work gets the values of the ctx that started it.
func (f *flights) do(ctx context.Context, key string, work func(context.Context) (string, error)) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	fl, err := f.join(ctx, key, work)
	if err != nil {
		return "", err
	}
	select {
	case <-fl.done:
		return fl.result, fl.err
	case <-ctx.Done():
		f.leave(key, fl)
		return "", ctx.Err()
	}
}

func (f *flights) join(ctx context.Context, key string, work func(context.Context) (string, error)) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	fl := f.running[key]
	if fl == nil {
		fl = f.startLocked(ctx, key, work)
	}
	fl.callers++
	return fl, nil
}

func (f *flights) startLocked(ctx context.Context, key string, work func(context.Context) (string, error)) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(f.ctx, cancel)
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	f.running[key] = fl
	guard.Go(ctx, &f.workers, "pull", func() {
		defer unlink()
		defer cancel()
		fl.result, fl.err = guard.Value(ctx, "pull", func() (string, error) { return work(ctx) })
		f.mu.Lock()
		f.removeLocked(key, fl)
		f.mu.Unlock()
		close(fl.done)
	})
	return fl
}

// leave removes a caller, and cancels the work if it was the last one. The work is removed from the
// table at once, so that the next caller starts new work and does not inherit the cancellation.
func (f *flights) leave(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.callers--; fl.callers == 0 {
		f.removeLocked(key, fl)
		fl.cancel()
	}
}

func (f *flights) removeLocked(key string, fl *flight) {
	if f.running[key] == fl {
		delete(f.running, key)
	}
}

// close cancels all work and waits until it has ended.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.running {
		fl.cancel()
	}
	f.mu.Unlock()
	f.workers.Wait()
}
