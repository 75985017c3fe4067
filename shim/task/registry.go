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
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/sharing"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const (
	// guestTimeout is how long the shim waits for a task that was announced.
	guestTimeout = time.Minute

	// answerTimeout is how long the answer to a deletion may take at most to leave
	// the shim.
	answerTimeout = time.Second

	// idleTimeout is how long the shim stays with no task, no guest and no
	// connection, should containerd never have told it to end.
	idleTimeout = 30 * time.Second
)

// registry holds the tasks of the shim, and decides when it is no longer
// needed.
type registry struct {
	pods sharing.Pods // that the shim may have
	// retire is called once, in a goroutine of its own.
	retire func()
	// alone, if set, is called when the last connection was closed.
	alone func()

	mu sync.Mutex
	// Guarded by mu.
	tasks   map[string]entry
	guests  map[string]*time.Timer // tasks that will come
	leaving map[string]*time.Timer // deleted tasks whose answer may be under way
	told    bool                   // to end, once that is so
	past    history                // results of deletions
	conns   int
	idle    *time.Timer
	retired bool
}

// entry is a task of a pod. The container is nil while it is being created.
type entry struct {
	pod       string
	container *container
}

func newRegistry(pods sharing.Pods, retire func()) *registry {
	return &registry{
		pods:    pods,
		retire:  retire,
		tasks:   make(map[string]entry),
		guests:  make(map[string]*time.Timer),
		leaving: make(map[string]*time.Timer),
	}
}

// after calls fn, with the registry locked, when some time has passed.
func (g *registry) after(limit time.Duration, fn func()) *time.Timer {
	return time.AfterFunc(limit, guard.Catch(context.Background(), "tasks that come and go", func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		fn()
	}, nil))
}

// get returns a task.
func (g *registry) get(id string) (*container, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.tasks[id].container; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("container %s: no task: %w", id, errdefs.ErrNotFound)
}

// expect keeps the shim from ending before a task has come. The error is
// errdefs.ErrUnavailable if it is ending already.
func (g *registry) expect(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expectLocked(id)
}

// expectPod is expect for the first task of a pod. The error is
// errdefs.ErrResourceExhausted if there is no room for another pod.
func (g *registry) expectPod(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.countPodsLocked(id); g.pods.Full(n) {
		return fmt.Errorf("shim has %d pods already: %w", n, errdefs.ErrResourceExhausted)
	}
	return g.expectLocked(id)
}

// countPodsLocked returns how many pods there are beside one. A guest counts as a
// pod until it has come: most are the first task of one, and have its name.
func (g *registry) countPodsLocked(beside string) int {
	pods := make(map[string]struct{})
	for _, e := range g.tasks {
		pods[e.pod] = struct{}{}
	}
	for id := range g.guests {
		pods[id] = struct{}{}
	}
	delete(pods, beside)
	return len(pods)
}

func (g *registry) expectLocked(id string) error {
	if g.retired {
		return errRetired()
	}
	g.dismissLocked(id)
	g.guests[id] = g.after(guestTimeout, func() {
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

// reserve makes room for a task of a pod that is being created.
func (g *registry) reserve(id, pod string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired {
		return errRetired()
	}
	if _, exists := g.tasks[id]; exists {
		return fmt.Errorf("container %s: task: %w", id, errdefs.ErrAlreadyExists)
	}
	g.tasks[id] = entry{pod: pod}
	g.told = false
	g.dismissLocked(id)
	g.past.drop(id)
	return nil
}

// admit puts a task that was created into its room.
func (g *registry) admit(c *container) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks[c.id] = entry{pod: c.pod, container: c}
}

// release gives up the room of a task that was not created.
func (g *registry) release(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, id)
	g.refuseLocked(id)
	g.checkIdleLocked()
}

// refuse records that a task was not created. containerd deletes it all the same, and logs an error
// when there is nothing to delete.
func (g *registry) refuse(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuseLocked(id)
}

func (g *registry) refuseLocked(id string) {
	if _, exists := g.tasks[id]; !exists {
		g.past.add(id, "", &taskapi.DeleteResponse{ExitStatus: reap.StatusUnknown, ExitedAt: timestamppb.Now()})
	}
}

// forget ends the service for a process, or with execID "" for a task, and
// keeps the result.
func (g *registry) forget(id, execID string, response *taskapi.DeleteResponse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past.add(id, execID, response)
	if execID == "" {
		delete(g.tasks, id)
		g.partLocked(id)
		g.checkIdleLocked()
	}
}

// partLocked keeps the shim from ending before the answer to the deletion of a
// task has arrived. containerd tells each task's shim to end once it has, but the
// word of another task may come in between, and ttrpc closes a connection on
// which an answer is being made.
func (g *registry) partLocked(id string) {
	g.leaving[id] = g.after(answerTimeout, func() {
		delete(g.leaving, id)
		if g.told {
			g.leaveLocked()
		}
	})
}

// bundles returns the bundles of the tasks, in no order.
func (g *registry) bundles() []bundle.Dir {
	g.mu.Lock()
	defer g.mu.Unlock()
	var dirs []bundle.Dir
	for _, e := range g.tasks {
		if e.container != nil {
			dirs = append(dirs, e.container.bundle)
		}
	}
	return dirs
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
	if timer := g.leaving[id]; timer != nil {
		timer.Stop()
		delete(g.leaving, id)
	}
	g.told = true
	g.leaveLocked()
}

func (g *registry) leaveLocked() {
	if !g.retired && g.unusedLocked() {
		g.retired = true
		go guard.Catch(context.Background(), "retire", g.retire, nil)()
	}
}

func (g *registry) unusedLocked() bool {
	return len(g.tasks) == 0 && len(g.guests) == 0 && len(g.leaving) == 0
}

// checkIdleLocked is called whenever somebody has gone.
func (g *registry) checkIdleLocked() {
	if g.retired || g.conns > 0 || !g.unusedLocked() {
		return
	}
	if g.idle != nil {
		g.idle.Stop()
	}
	g.idle = g.after(idleTimeout, func() {
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
	var accepted net.Conn
	var info any
	err := guard.Call(ctx, "accept a connection", func() (err error) {
		accepted, info, err = ttrpc.UnixSocketRequireSameUser().Handshake(ctx, conn)
		return err
	})
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
	if g.conns == 0 && g.alone != nil {
		g.alone()
	}
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
