// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Policy says what happens to work whose callers have all gone.
type Policy int

const (
	// Finish lets the work continue. A result that nothing waits for is dropped.
	Finish Policy = iota
	// Keep lets the work continue. A result without an error that no caller received, or that a
	// caller received so late that it may have given up, is returned to the next equal call.
	Keep
	// Cancel cancels the context of the work. The next equal call starts it again.
	Cancel
)

// deliveryTime is how long a result may take to reach the caller, on a busy node too.
const deliveryTime = time.Second

// Options are the properties of a set of calls.
type Options struct {
	// Name of the work, for the log line of a panic.
	Name string
	// Policy for work without callers.
	Policy Policy
	// Timeout bounds the work. Zero means no limit.
	Timeout time.Duration
	// Joined, if set, is called for each call that joins the work of another.
	Joined func()
	// Left is the error text for a caller whose context ends before the work does.
	Left string
}

// Calls joins equal calls. The result of the work is a T. The zero value is not usable; see [New].
type Calls[T comparable] struct {
	options Options
	workers sync.WaitGroup

	mu     sync.Mutex
	closed bool
	calls  map[string]*call[T] // in progress, or kept for the next equal call
}

var errClosed = fmt.Errorf("containerd-lite is stopping: %w", errdefs.ErrUnavailable)

// call is one run of work.
type call[T comparable] struct {
	cancel  context.CancelFunc
	callers int // guarded by Calls.mu
	// gone are the results that were forgotten while the work ran: a caller can see, and remove,
	// the object that the work creates before the work returns. Calls.mu guards it.
	gone []T

	done chan struct{} // closed after result and err are set
	// result and err are what the work returned.
	result T
	err    error
}

// New returns an empty set of calls.
func New[T comparable](o Options) *Calls[T] {
	return &Calls[T]{options: o, calls: make(map[string]*call[T])}
}

// Do returns the result of work: by running it, by joining the work in progress for the same key,
// or from earlier work with the policy Keep. Work gets the values of the context of the call that
// started it, but not its cancellation.
//
// If ctx ends first, Do returns its error. Do returns Unavailable after Close.
func (g *Calls[T]) Do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil && g.options.Policy == Cancel { // the work has no caller
		return none, g.left(err)
	}
	c, err := g.join(ctx, key, work)
	if err != nil {
		return none, err
	}
	select {
	case <-c.done:
		if receives(ctx) {
			g.drop(key, c)
		}
		return c.result, c.err
	case <-ctx.Done():
		g.leave(key, c)
		return none, g.left(ctx.Err())
	}
}

// receives reports whether the caller is sure to get a result that is returned now. A client whose
// deadline is near may give up while the result is on its way, and then repeats the call.
func receives(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() == nil && (!limited || time.Until(deadline) > deliveryTime)
}

// Forget drops a kept result, because the object that it names no longer exists.
func (g *Calls[T]) Forget(result T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, c := range g.calls {
		select {
		case <-c.done:
			if c.result == result {
				delete(g.calls, key)
			}
		default:
			c.gone = append(c.gone, result)
		}
	}
}

// Close cancels all work and waits until it has returned.
func (g *Calls[T]) Close() {
	g.mu.Lock()
	g.closed = true
	for _, c := range g.calls {
		c.cancel()
	}
	g.mu.Unlock()
	g.workers.Wait()
}

func (g *Calls[T]) join(ctx context.Context, key string, work func(context.Context) (T, error)) (*call[T], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errClosed
	}
	c := g.calls[key]
	if c == nil {
		c = g.startLocked(ctx, key, work)
	} else if g.options.Joined != nil {
		g.options.Joined()
	}
	c.callers++
	return c, nil
}

func (g *Calls[T]) startLocked(ctx context.Context, key string, work func(context.Context) (T, error)) *call[T] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if g.options.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, g.options.Timeout)
	}
	c := &call[T]{cancel: cancel, done: make(chan struct{})}
	g.calls[key] = c
	guard.Go(ctx, &g.workers, g.options.Name, func() {
		defer cancel()
		c.result, c.err = guard.Value(ctx, g.options.Name, func() (T, error) { return work(ctx) })
		g.finish(key, c)
	})
	return c
}

// finish publishes the result of a call, and keeps it if a later call may need it.
func (g *Calls[T]) finish(key string, c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	keep := g.options.Policy == Keep && c.err == nil && !slices.Contains(c.gone, c.result)
	if !keep {
		g.removeLocked(key, c)
	}
	close(c.done)
}

// drop removes a result that a caller has received.
func (g *Calls[T]) drop(key string, c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removeLocked(key, c)
}

// leave cancels work that has no caller left, if the policy says so. The call is removed at once:
// the next equal call must not join cancelled work.
func (g *Calls[T]) leave(key string, c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.callers--; c.callers == 0 && g.options.Policy == Cancel {
		g.removeLocked(key, c)
		c.cancel()
	}
}

func (g *Calls[T]) removeLocked(key string, c *call[T]) {
	if g.calls[key] == c {
		delete(g.calls, key)
	}
}

func (g *Calls[T]) left(cause error) error {
	if g.options.Left == "" {
		return cause
	}
	return fmt.Errorf("%s: %w", g.options.Left, cause)
}
