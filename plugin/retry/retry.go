// SPDX-License-Identifier: Apache-2.0

package retry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Group runs work under keys. The zero value is not usable; see [New].
type Group struct {
	timeout time.Duration

	mu    sync.Mutex
	calls map[string]*call // in progress, or succeeded without a caller that got the result
}

// call is one run of work. id and err are set before done is closed.
type call struct {
	done chan struct{}
	id   string
	err  error
	// forgotten are the IDs that Forget was called for while the work ran: other callers can see
	// and remove what the work made a moment before the work returns. Group.mu guards it.
	forgotten []string
}

// New returns a group whose work may take up to timeout.
func New(timeout time.Duration) *Group {
	return &Group{timeout: timeout, calls: make(map[string]*call)}
}

// Do returns the ID that work made for this key. It runs work, waits for equal work in progress, or
// returns the result of earlier work that no caller got. If ctx ends first, Do returns its error
// and the work continues.
func (g *Group) Do(ctx context.Context, key string, work func(context.Context) (id string, err error)) (string, error) {
	c := g.join(ctx, key, work)
	select {
	case <-c.done:
		g.drop(key, c)
		return c.id, c.err
	case <-ctx.Done():
		return "", fmt.Errorf("still in progress; retry the same request to get its result: %w", ctx.Err())
	}
}

// Forget drops the result id, because it no longer exists.
func (g *Group) Forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, c := range g.calls {
		select {
		case <-c.done:
			if c.id == id {
				delete(g.calls, key)
			}
		default:
			c.forgotten = append(c.forgotten, id)
		}
	}
}

func (g *Group) join(ctx context.Context, key string, work func(context.Context) (string, error)) *call {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.calls[key]; ok {
		return c
	}
	c := &call{done: make(chan struct{})}
	g.calls[key] = c
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
	guard.Go(detached, nil, "detached call", func() {
		defer cancel()
		c.id, c.err = guard.Value(detached, "call", func() (string, error) { return work(detached) })
		g.finish(key, c)
	})
	return c
}

// finish passes the result to the callers. It keeps a successful result for a later call.
func (g *Group) finish(key string, c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.err != nil || slices.Contains(c.forgotten, c.id) {
		delete(g.calls, key)
	}
	close(c.done)
}

func (g *Group) drop(key string, c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[key] == c {
		delete(g.calls, key)
	}
}
