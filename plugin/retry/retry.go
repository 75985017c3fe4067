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
	limit time.Duration

	mu    sync.Mutex
	calls map[string]*call // under way, or done well and not taken by anyone
}

// call is one run of work. id and err are set before done is closed.
type call struct {
	done chan struct{}
	id   string
	err  error
	// gone are the ids that were forgotten while the work ran: what it made can
	// be seen, and removed, a moment before the work returns. Group.mu guards it.
	gone []string
}

// New returns a group whose work may take up to limit.
func New(limit time.Duration) *Group {
	return &Group{limit: limit, calls: make(map[string]*call)}
}

// Do returns the id that work made for this key: by running it, by waiting for
// the same work under way, or from earlier work whose result nobody took. When
// ctx ends first its error is returned and the work goes on.
func (g *Group) Do(ctx context.Context, key string, work func(context.Context) (id string, err error)) (string, error) {
	c := g.join(ctx, key, work)
	select {
	case <-c.done:
		g.drop(key, c)
		return c.id, c.err
	case <-ctx.Done():
		return "", fmt.Errorf("still under way, an equal request takes it over: %w", ctx.Err())
	}
}

// Forget drops a result that nobody took, because it no longer exists.
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
			c.gone = append(c.gone, id)
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
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.limit)
	guard.Go(detached, nil, "call that is taken over by its repetition", func() {
		defer cancel()
		c.id, c.err = guard.Value(detached, "call", func() (string, error) { return work(detached) })
		g.finish(key, c)
	})
	return c
}

// finish lets the callers have the result, and keeps one that is of use to a later
// one.
func (g *Group) finish(key string, c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.err != nil || slices.Contains(c.gone, c.id) {
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
