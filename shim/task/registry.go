// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
)

const (
	// guestTimeout is how long the shim waits for a task that was announced.
	guestTimeout = time.Minute

	// idleTimeout is how long the shim stays with no task, no guest and no
	// connection, should containerd never have told it to end.
	idleTimeout = 30 * time.Second
)

// registry holds the tasks of the shim, and decides when it is no longer
// needed.
type registry struct {
	// retire is called once, in a goroutine of its own.
	retire func()

	mu sync.Mutex
	// Guarded by mu.
	tasks   map[string]*container  // nil while one is being created
	guests  map[string]*time.Timer // tasks that will come
	past    history                // results of deletions
	conns   int
	idle    *time.Timer
	retired bool
}

func newRegistry(retire func()) *registry {
	return &registry{
		retire: retire,
		tasks:  make(map[string]*container),
		guests: make(map[string]*time.Timer),
	}
}

// get returns a task.
func (g *registry) get(id string) (*container, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.tasks[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("container %s: no task: %w", id, errdefs.ErrNotFound)
}

// expect keeps the shim from ending before a task has come. The error is
// errdefs.ErrUnavailable if it is ending already.
func (g *registry) expect(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired {
		return errRetired()
	}
	g.dismissLocked(id)
	g.guests[id] = time.AfterFunc(guestTimeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.guests, id)
		g.checkIdleLocked()
	})
	return nil
}

func (g *registry) dismissLocked(id string) {
	if timer := g.guests[id]; timer != nil {
		timer.Stop()
		delete(g.guests, id)
	}
}

// reserve makes room for a task that is being created.
func (g *registry) reserve(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired {
		return errRetired()
	}
	if _, exists := g.tasks[id]; exists {
		return fmt.Errorf("container %s: task: %w", id, errdefs.ErrAlreadyExists)
	}
	g.tasks[id] = nil
	g.dismissLocked(id)
	g.past.drop(id)
	return nil
}

// admit puts a task that was created into its room.
func (g *registry) admit(c *container) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks[c.id] = c
}

// release gives up the room of a task that was not created.
func (g *registry) release(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, id)
	g.checkIdleLocked()
}

// forget ends the service for a process, or with execID "" for a task, and
// keeps the result.
func (g *registry) forget(id, execID string, response *taskapi.DeleteResponse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past.add(id, execID, response)
	if execID == "" {
		delete(g.tasks, id)
		g.checkIdleLocked()
	}
}

// recall returns the result of an earlier deletion, or nil.
func (g *registry) recall(id, execID string) *taskapi.DeleteResponse {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.past.find(id, execID)
}

// leave gives up waiting for a task, and ends the shim if it is not needed.
func (g *registry) leave(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dismissLocked(id)
	g.leaveLocked()
}

func (g *registry) leaveLocked() {
	if !g.retired && g.unusedLocked() {
		g.retired = true
		go g.retire()
	}
}

func (g *registry) unusedLocked() bool { return len(g.tasks) == 0 && len(g.guests) == 0 }

// checkIdleLocked is called whenever somebody has gone.
func (g *registry) checkIdleLocked() {
	if g.retired || g.conns > 0 || !g.unusedLocked() {
		return
	}
	if g.idle != nil {
		g.idle.Stop()
	}
	g.idle = time.AfterFunc(idleTimeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.conns == 0 {
			g.leaveLocked()
		}
	})
}

func errRetired() error {
	return fmt.Errorf("shim is ending: %w", errdefs.ErrUnavailable)
}

// Handshake implements ttrpc.Handshaker. It accepts the user of the shim
// only, and counts connections.
func (g *registry) Handshake(ctx context.Context, conn net.Conn) (net.Conn, any, error) {
	accepted, info, err := ttrpc.UnixSocketRequireSameUser().Handshake(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	g.count(1)
	return &connection{Conn: accepted, leave: sync.OnceFunc(func() { g.count(-1) })}, info, nil
}

func (g *registry) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns += n
	g.checkIdleLocked()
}

// connection is counted until it is closed.
type connection struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.leave()
	return c.Conn.Close()
}
