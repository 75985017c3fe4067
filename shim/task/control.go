// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// Kill implements the task service. It does not wait for an operation in progress: a signal must be
// able to end a process on which an operation hangs.
func (s *Service) Kill(_ context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	c, e, err := s.find(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if e == nil {
		err = c.signal(unix.Signal(r.Signal), r.All)
	} else {
		err = e.signal(unix.Signal(r.Signal))
	}
	if err != nil {
		return nil, fmt.Errorf("container %s: kill: %w", c.id, err)
	}
	return &emptypb.Empty{}, nil
}

// signal sends a signal to the init, or to all processes of the container.
func (c *container) signal(sig unix.Signal, all bool) error {
	init, err := c.init.signalable()
	if err != nil {
		return err
	}
	group := c.resources.group()
	switch {
	case sig == unix.SIGKILL:
		return c.kill(init, group)
	case all && group != nil:
		return group.Signal(sig)
	default:
		return init.Signal(sig)
	}
}

// kill sends SIGKILL to the init itself, because the init may have left its cgroup, as a kubelet or
// a container engine in a container does. It then kills the cgroup, too.
func (c *container) kill(init child, group *cgroup.Group) error {
	c.admission.reject()
	err := init.Signal(unix.SIGKILL)
	if group == nil {
		return err
	}
	return errors.Join(err, group.Kill(c.ownPids))
}

// owner returns the owner of the init's streams.
func (c *container) owner() stdio.Owner {
	return c.init.streamOwner(func() error { return c.signal(unix.SIGKILL, true) })
}

// killInit kills the init if it is running and waits for its exit.
func (c *container) killInit() error {
	if c.init.allows(remove) == nil {
		return nil
	}
	if err := c.signal(unix.SIGKILL, true); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("container %s: kill: %w", c.id, err)
	}
	<-c.init.done
	return nil
}

// Pause implements the task service.
func (s *Service) Pause(ctx context.Context, r *taskapi.PauseRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.operate(ctx, pause, func() error { return c.pause(ctx) }); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (c *container) pause(ctx context.Context) error {
	if err := c.init.advance(pause); err != nil {
		return err
	}
	err := guard.Call(c.context(), "pause", func() error { return c.runtime.Pause(ctx, c.id) })
	if err != nil {
		// A canceled command may have frozen the cgroup already.
		if group := c.resources.group(); group != nil {
			group.Thaw()
		}
		_ = c.init.advance(pauseUndo) // not allowed if the init has exited meanwhile
		return err
	}
	if err := c.init.advance(pauseDone); err != nil {
		return err
	}
	c.host.Events.Put(&events.TaskPaused{ContainerID: c.id})
	return nil
}

// Resume implements the task service.
func (s *Service) Resume(ctx context.Context, r *taskapi.ResumeRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	err = c.operate(ctx, resume, func() error {
		// A canceled command may have thawed the cgroup already.
		if err := c.runtime.Resume(ctx, c.id); err != nil && !c.resources.thawed() {
			return err
		}
		if err := c.init.advance(resume); err != nil {
			return err
		}
		s.host.Events.Put(&events.TaskResumed{ContainerID: c.id})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Checkpoint implements the task service.
func (s *Service) Checkpoint(ctx context.Context, r *taskapi.CheckpointTaskRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	opts := &options.CheckpointOptions{}
	if r.Options != nil {
		if err := r.Options.UnmarshalTo(opts); err != nil {
			return nil, fmt.Errorf("container %s: checkpoint: options: %w: %w", c.id, errdefs.ErrInvalidArgument, err)
		}
	}
	err = c.operate(ctx, checkpoint, func() error { return c.checkpoint(ctx, r.Path, opts) })
	if err != nil {
		return nil, err
	}
	s.host.Events.Put(&events.TaskCheckpointed{ContainerID: c.id})
	return &emptypb.Empty{}, nil
}

// checkpoint writes the CRIU images. CRIU's log is kept only if the checkpoint was not successful.
func (c *container) checkpoint(ctx context.Context, images string, opts *options.CheckpointOptions) error {
	work := opts.GetWorkPath()
	if work == "" {
		work = filepath.Join(c.bundle.Work(), "criu-work")
		defer os.RemoveAll(work)
	}
	err := c.runtime.Checkpoint(ctx, c.id, images, work, opts)
	if err == nil {
		return nil
	}
	if data, rerr := os.ReadFile(filepath.Join(work, "dump.log")); rerr == nil {
		if werr := os.WriteFile(c.bundle.CriuDumpLog(), data, 0o600); werr == nil {
			return fmt.Errorf("%w (log: %s)", err, c.bundle.CriuDumpLog())
		}
	}
	return err
}

// ResizePty implements the task service.
func (s *Service) ResizePty(_ context.Context, r *taskapi.ResizePtyRequest) (*emptypb.Empty, error) {
	c, p, err := s.findProcess(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if err := p.streams.Resize(r.Width, r.Height); err != nil {
		return nil, fmt.Errorf("container %s: %w", c.id, err)
	}
	return &emptypb.Empty{}, nil
}

// CloseIO implements the task service.
func (s *Service) CloseIO(_ context.Context, r *taskapi.CloseIORequest) (*emptypb.Empty, error) {
	_, p, err := s.findProcess(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin {
		p.streams.CloseStdin()
	}
	return &emptypb.Empty{}, nil
}
