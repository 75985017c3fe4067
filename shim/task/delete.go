// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// deleteTimeout bounds one attempt of the runtime to delete a container.
const deleteTimeout = 30 * time.Second

// removal is a deletion under way. Its result is set before done is closed.
type removal struct {
	done     chan struct{}
	response *taskapi.DeleteResponse
	err      error
}

// delete removes a process that has ended or never ran, and with the init the
// container. The work goes on if the caller gives up waiting; the next caller
// joins it, and after an error starts again. gone is called on success, before
// anybody learns of it.
func (c *container) delete(ctx context.Context, p *process, gone func(*taskapi.DeleteResponse)) (*taskapi.DeleteResponse, error) {
	r, err := c.joinRemoval(p, func(r *removal) {
		defer close(r.done)
		r.err = guard.Call(c.context(), "delete", func() (err error) {
			if r.response, err = c.remove(context.WithoutCancel(ctx), p); err == nil {
				gone(r.response)
			}
			return err
		})
		if r.err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			p.removal = nil
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
		return r.response, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("container %s: delete: %w", c.id, ctx.Err())
	}
}

func (c *container) joinRemoval(p *process, run func(*removal)) (*removal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.removal == nil {
		if _, err := p.state.after(remove); err != nil {
			return nil, fmt.Errorf("container %s: %w", c.id, err)
		}
		r := &removal{done: make(chan struct{})}
		p.removal = r
		go guard.Catch(c.context(), "delete", func() { run(r) }, nil)()
	}
	return p.removal, nil
}

// remove does the work of delete.
func (c *container) remove(ctx context.Context, p *process) (*taskapi.DeleteResponse, error) {
	if err := p.turn.take(ctx); err != nil {
		return nil, err
	}
	defer p.turn.give()
	err := c.discard(p)
	if err == nil {
		p.streams.Finish()
		if p.isInit() {
			err = c.removeContainer(ctx)
		} else {
			err = c.removeExec(p)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("container %s: delete: %w", c.id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.state = deleted
	return p.deleteResponseLocked(), nil
}

// discard ends a process that was never started, so that the rest of the
// deletion finds what it finds after any other end.
func (c *container) discard(p *process) error {
	child, err := c.neverStarted(p)
	if child != nil {
		_ = child.Signal(unix.SIGKILL)
		<-p.done
	}
	return err
}

// neverStarted returns the process to end, if there is one.
func (c *container) neverStarted(p *process) (child, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.state == stopped:
		return nil, nil
	case p.state != created:
		// Started while the deletion waited for its turn.
		_, err := p.state.after(remove)
		return nil, err
	case p.child != nil:
		return p.child, nil
	}
	// Nothing has failed, and so the status is 0, as that of containerd-shim-runc-v2.
	p.state = stopped
	p.exit = reap.Exit{At: time.Now()}
	close(p.done)
	return nil, nil
}

// removeContainer takes away what the runtime and the mounts left. A step
// that was done in an earlier attempt has nothing to do.
func (c *container) removeContainer(ctx context.Context) error {
	c.closeExecs()
	if err := c.removeFromRuntime(ctx); err != nil {
		return err
	}
	if c.mounted {
		if err := c.unmount(); err != nil {
			return err
		}
	}
	if err := c.bundle.MarkDeleted(); err != nil {
		// containerd's delete command then looks for itself.
		c.log().WithError(err).Debug("deletion not on record")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host.Events.Put(&events.TaskDelete{
		ContainerID: c.id,
		Pid:         uint32(c.init.pidLocked()),
		ExitStatus:  uint32(c.init.exit.Status),
		ExitedAt:    c.init.exitedAtLocked(),
	})
	return nil
}

// removeFromRuntime removes what the runtime, or the holder, keeps of a container
// whose processes have ended.
func (c *container) removeFromRuntime(ctx context.Context) error {
	if c.holder != nil {
		c.holder.remove()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	if c.runtime.Delete(ctx, c.id, false) == nil {
		return nil
	}
	return c.runtime.Delete(ctx, c.id, true)
}

// closeExecs lets go of the execs that nobody has deleted. None of them runs.
func (c *container) closeExecs() {
	var closing sync.WaitGroup
	for _, p := range c.allExecs() {
		closing.Go(guard.Catch(c.context(), "end of exec "+p.execID, func() {
			if err := c.discard(p); err == nil {
				p.streams.Finish()
			}
		}, nil))
	}
	closing.Wait()
}

func (c *container) removeExec(p *process) error {
	if err := os.Remove(c.bundle.ExecPidFile(p.execID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.log().WithError(err).Debug("pid file not removed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.execs, p.execID)
	return nil
}
