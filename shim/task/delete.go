// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// deleteTimeout bounds both attempts of the runtime to delete a container, the plain and the forced
// one.
const deleteTimeout = 30 * time.Second

// removal is a deletion in progress. Its result is set before done is closed.
type removal struct {
	done     chan struct{}
	response *taskapi.DeleteResponse
	err      error
}

// delete removes a process that has exited or never ran, and calls cleanup to remove its resources.
// The deletion continues if the caller's context ends. A later caller joins a deletion in progress,
// and starts a new one after an error. On success gone is called before any caller gets the result.
func (p *process) delete(ctx context.Context, cleanup func(context.Context) error, gone func(*taskapi.DeleteResponse)) (*taskapi.DeleteResponse, error) {
	r, err := p.joinRemoval(func(r *removal) {
		defer close(r.done)
		r.err = guard.Call(p.setup.context(), "delete", func() (err error) {
			if r.response, err = p.remove(context.WithoutCancel(ctx), cleanup); err == nil {
				gone(r.response)
			}
			return err
		})
		if r.err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.removal = nil
		}
	})
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", p.setup.id, err)
	}
	select {
	case <-r.done:
		return r.response, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("container %s: delete: %w", p.setup.id, ctx.Err())
	}
}

func (p *process) joinRemoval(run func(*removal)) (*removal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removal == nil {
		if _, err := p.state.after(remove); err != nil {
			return nil, err
		}
		r := &removal{done: make(chan struct{})}
		p.removal = r
		go guard.Catch(p.setup.context(), "delete", func() { run(r) }, nil)()
	}
	return p.removal, nil
}

func (p *process) remove(ctx context.Context, cleanup func(context.Context) error) (*taskapi.DeleteResponse, error) {
	if err := p.operation.lock(ctx); err != nil {
		return nil, err
	}
	defer p.operation.unlock()
	err := p.finish()
	if err == nil {
		err = cleanup(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("container %s: delete: %w", p.setup.id, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = deleted
	return p.responseLocked(), nil
}

// responseLocked returns the result of the deletion of a process that has exited.
func (p *process) responseLocked() *taskapi.DeleteResponse {
	return &taskapi.DeleteResponse{
		Pid:        uint32(p.pidLocked()),
		ExitStatus: uint32(p.exit.Status),
		ExitedAt:   p.exitedAtLocked(),
	}
}

// finish kills a process that was created and never started, so that the following steps find an
// exited process in every case. It then ends the streams.
func (p *process) finish() error {
	child, err := p.unstartedChild()
	if err != nil {
		return err
	}
	if child != nil {
		_ = child.Signal(unix.SIGKILL)
		<-p.done
	}
	p.streams.Finish()
	return nil
}

// unstartedChild returns the child to kill, nil if there is none. A process without a child becomes
// stopped.
func (p *process) unstartedChild() (child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == stopped:
		return nil, nil
	case p.state != created:
		// The process was started while the deletion waited for the lock.
		_, err := p.state.after(remove)
		return nil, err
	case p.child != nil:
		return p.child, nil
	}
	// No process has failed, so the status is 0, as in containerd-shim-runc-v2.
	p.endLocked(reap.Exit{At: time.Now()})
	return nil, nil
}

// remove removes the container from the runtime and unmounts its root filesystem. A step that an
// earlier attempt completed does nothing.
func (c *container) remove(ctx context.Context) error {
	c.finishExecs()
	if err := c.removeFromRuntime(ctx); err != nil {
		return err
	}
	if err := c.removeRootfs(); err != nil {
		return err
	}
	c.init.mu.Lock()
	result := c.init.responseLocked()
	c.init.mu.Unlock()
	if err := c.markDeleted(result); err != nil {
		// containerd's delete command then cleans up again.
		c.log().WithError(err).Debug("deletion not recorded in the bundle; the delete command will clean up again")
	}
	c.host.Events.Put(&events.TaskDelete{
		ContainerID: c.id,
		Pid:         result.Pid,
		ExitStatus:  result.ExitStatus,
		ExitedAt:    result.ExitedAt,
	})
	return nil
}

// markDeleted records the deletion in the bundle, with its result for the delete command.
func (c *container) markDeleted(result *taskapi.DeleteResponse) error {
	answer, err := proto.Marshal(result)
	if err != nil {
		return err
	}
	return c.bundle.MarkDeleted(answer)
}

// removeFromRuntime removes the container from the runtime, or removes its holder. The container's
// processes have exited.
func (c *container) removeFromRuntime(ctx context.Context) error {
	if c.holder != nil {
		c.holder.remove()
		return nil
	}
	if c.runtime.DeleteDirectly(c.id) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	if c.runtime.Delete(ctx, c.id, false) == nil {
		return nil
	}
	return c.runtime.Delete(ctx, c.id, true)
}

// finishExecs finishes the execs that no client has deleted. None of them is running.
func (c *container) finishExecs() {
	var closing sync.WaitGroup
	for _, e := range c.allExecs() {
		closing.Go(guard.Catch(c.context(), "finish exec "+e.execID, func() { _ = e.finish() }, nil))
	}
	closing.Wait()
}
