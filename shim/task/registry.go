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
	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

const (
	// expectTimeout is how long the shim waits for the Create of a task that has joined. Then a
	// shim without any other task exits, even if containerd is connected: a containerd that was
	// killed before the Create reconnects after its restart, but never creates the task.
	expectTimeout = time.Minute

	// responseTimeout bounds the time in which the response to a Delete leaves the shim.
	responseTimeout = time.Second

	// idleTimeout is how long the shim stays without tasks, expected tasks and connections if
	// containerd does not call Shutdown.
	idleTimeout = 30 * time.Second
)

// registry holds the tasks of the shim and decides when the shim can exit.
type registry struct {
	pods shimoption.Pods // how many pods the shim may serve
	// retire is called once, in a goroutine of its own, when the shim can exit.
	retire func()
	// onDisconnect, if set, is called when the last connection is closed.
	onDisconnect func()

	mu sync.Mutex
	// Guarded by mu.
	tasks         map[string]entry
	expected      map[string]*time.Timer // timers of tasks that have joined and are not created yet
	unanswered    map[string]*time.Timer // timers of deleted tasks: response in transit
	shutdownAsked bool                   // Shutdown or Leave was called after the latest Create
	deletions     history                // results of the latest deletions
	conns         int
	idle          *time.Timer
	retired       bool
}

// entry is a task and the name of its pod. The container is nil while it is being created.
type entry struct {
	pod       string
	container *container
}

func newRegistry(pods shimoption.Pods, retire func()) *registry {
	return &registry{
		pods:       pods,
		retire:     retire,
		tasks:      make(map[string]entry),
		expected:   make(map[string]*time.Timer),
		unanswered: make(map[string]*time.Timer),
	}
}

// startTimer calls fn with the registry locked after a time limit.
func (g *registry) startTimer(limit time.Duration, fn func()) *time.Timer {
	return time.AfterFunc(limit, guard.Catch(context.Background(), "registry timer", func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		fn()
	}, nil))
}

// get returns a task that has been created.
func (g *registry) get(id string) (*container, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.tasks[id].container; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("container %s: no task: %w", id, errdefs.ErrNotFound)
}

// expect keeps the shim running until a task is created. The error is errdefs.ErrUnavailable if the
// shim is already exiting.
func (g *registry) expect(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expectLocked(id)
}

// expectPod is expect for the first task of a pod. The error is errdefs.ErrResourceExhausted if the
// shim has as many pods as it may serve.
func (g *registry) expectPod(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.countPodsLocked(id); g.pods.Full(n) {
		return fmt.Errorf("shim already has %d pods: %w", n, errdefs.ErrResourceExhausted)
	}
	return g.expectLocked(id)
}

// countPodsLocked returns the number of pods without the given one. An expected task counts as a
// pod: most are the first task of a pod and have its name.
func (g *registry) countPodsLocked(beside string) int {
	pods := make(map[string]struct{})
	for _, e := range g.tasks {
		pods[e.pod] = struct{}{}
	}
	for id := range g.expected {
		pods[id] = struct{}{}
	}
	delete(pods, beside)
	return len(pods)
}

func (g *registry) expectLocked(id string) error {
	if g.retired {
		return errRetired()
	}
	g.stopExpectingLocked(id)
	g.expected[id] = g.startTimer(expectTimeout, func() {
		delete(g.expected, id)
		g.retireIfUnusedLocked()
	})
	return nil
}

func (g *registry) stopExpectingLocked(id string) {
	if timer := g.expected[id]; timer != nil {
		timer.Stop()
		delete(g.expected, id)
	}
}

// reserve reserves the id of a task that is being created.
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
	g.shutdownAsked = false
	g.stopExpectingLocked(id)
	g.deletions.drop(id)
	return nil
}

// add replaces the reservation of a task by the created container.
func (g *registry) add(c *container) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks[c.id] = entry{pod: c.pod, container: c}
}

// unreserve removes the reservation of a task that was not created.
func (g *registry) unreserve(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, id)
	g.recordNotCreatedLocked(id)
	g.checkIdleLocked()
}

// recordNotCreated records the result for a task that was not created. containerd deletes such a
// task, too, and logs an error if the shim does not know it.
func (g *registry) recordNotCreated(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.recordNotCreatedLocked(id)
}

func (g *registry) recordNotCreatedLocked(id string) {
	if _, exists := g.tasks[id]; !exists {
		g.deletions.add(id, "", &taskapi.DeleteResponse{ExitStatus: reap.StatusUnknown, ExitedAt: timestamppb.Now()})
	}
}

// forget removes a process, or the task for execID "", and keeps the result of the deletion. The
// task that has the name of its pod is deleted last. Its deletion takes the place of a Shutdown:
// containerd 1.7 and 2.0 call none for a pod with a sandbox, and stay connected.
func (g *registry) forget(id, execID string, response *taskapi.DeleteResponse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deletions.add(id, execID, response)
	if execID == "" {
		g.shutdownAsked = g.shutdownAsked || g.tasks[id].pod == id
		delete(g.tasks, id)
		g.awaitResponseLocked(id)
		g.checkIdleLocked()
	}
}

// awaitResponseLocked keeps the shim running until the response to the deletion of a task has been
// sent. containerd calls Shutdown for a task after it has the response, but a Shutdown for another
// task can come earlier, and ttrpc closes a connection whose response is not yet sent.
func (g *registry) awaitResponseLocked(id string) {
	g.unanswered[id] = g.startTimer(responseTimeout, func() {
		delete(g.unanswered, id)
		if g.shutdownAsked {
			g.retireIfUnusedLocked()
		}
	})
}

// bundles returns the bundles of the tasks in no particular order.
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

// deleteResult returns the result of an earlier deletion, nil if none is kept.
func (g *registry) deleteResult(id, execID string) *taskapi.DeleteResponse {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deletions.find(id, execID)
}

// leave stops expecting a task, and retires the shim if it has nothing left to do.
func (g *registry) leave(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopExpectingLocked(id)
	if timer := g.unanswered[id]; timer != nil {
		timer.Stop()
		delete(g.unanswered, id)
	}
	g.shutdownAsked = true
	g.retireIfUnusedLocked()
}

func (g *registry) retireIfUnusedLocked() {
	if !g.retired && g.unusedLocked() {
		g.retired = true
		go guard.Catch(context.Background(), "retire the shim", g.retire, nil)()
	}
}

func (g *registry) unusedLocked() bool {
	return len(g.tasks) == 0 && len(g.expected) == 0 && len(g.unanswered) == 0
}

// checkIdleLocked starts the idle timer if there are no connections, tasks and expected tasks.
func (g *registry) checkIdleLocked() {
	if g.retired || g.conns > 0 || !g.unusedLocked() {
		return
	}
	if g.idle != nil {
		g.idle.Stop()
	}
	g.idle = g.startTimer(idleTimeout, func() {
		if g.conns == 0 {
			g.retireIfUnusedLocked()
		}
	})
}

func errRetired() error {
	return fmt.Errorf("shim is exiting: %w", errdefs.ErrUnavailable)
}

// Handshake implements ttrpc.Handshaker. It accepts connections of the shim's user only, and counts
// them.
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
	g.addConns(1)
	return &connection{Conn: accepted, onClose: sync.OnceFunc(func() { g.addConns(-1) })}, info, nil
}

func (g *registry) addConns(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns += n
	if g.conns == 0 && g.onDisconnect != nil {
		g.onDisconnect()
	}
	g.checkIdleLocked()
}

// connection is counted until it is closed.
type connection struct {
	net.Conn
	onClose func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.onClose()
	return c.Conn.Close()
}
