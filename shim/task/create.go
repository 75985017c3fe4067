// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/option"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// undoTimeout bounds what is done to take back a create that did not succeed.
const undoTimeout = 20 * time.Second

// newContainer decodes a request. Nothing is started or changed yet.
func newContainer(host *Host, r *taskapi.CreateTaskRequest) (*container, error) {
	opts, err := option.Parse(r.Options)
	if err != nil {
		return nil, err
	}
	c := &container{
		id:     r.ID,
		bundle: bundle.Dir(r.Bundle),
		host:   host,
		setup: setup{
			opts:    opts.Options,
			mounted: len(r.Rootfs) > 0,
			pod:     r.ID,
		},
		init: newProcess("", stdio.Config{
			Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
		}),
		execs: make(map[string]*process),
	}
	if r.Checkpoint != "" {
		c.images = oci.Images{Path: r.Checkpoint, Parent: r.ParentCheckpoint, Work: opts.GetCriuWorkPath()}
		if c.images.Work == "" {
			c.images.Work = c.bundle.Work()
		}
	}
	// Without a readable config.json there is no certainty, and processes
	// that might outlive the init are ended with it.
	if spec, err := c.bundle.Spec(); err == nil {
		opts.ChooseDriver(spec.Linux.CgroupsPath, cgroup.SystemdRuns())
		c.ownPids, c.pod = spec.PrivatePids(), spec.Group(c.id)
		c.plain = !spec.Poststart()
		if opts.GetIoUid() == 0 && opts.GetIoGid() == 0 {
			// Docker says it to the shim of runc only: /dev/stdout is to be opened by name, too.
			opts.IoUid, opts.IoGid = spec.Root()
		}
		if c.holder, err = newHolder(spec); err != nil {
			return nil, fmt.Errorf("container %s: %w", c.id, err)
		}
	}
	c.runtime = oci.New(opts.Options, host.Namespace, filepath.Join(r.Bundle, bundle.RuntimeLog), host.Children.Hold)
	return c, nil
}

// create makes the container, with its init waiting for start, or leaves
// nothing behind. A checkpoint is only restored by start.
func (c *container) create(ctx context.Context, mounts []*types.Mount) error {
	var back undo.Stack
	err := guard.Call(c.context(), "create", func() error {
		if c.holder != nil {
			return c.hold(&back)
		}
		return c.prepare(ctx, mounts, &back)
	})
	if err == nil {
		return nil
	}
	ctx, cancel := detached(ctx, undoTimeout)
	defer cancel()
	if _, undone := back.Run(ctx); undone != nil {
		c.log().WithError(undone).Warn("container not created: remains")
	}
	return fmt.Errorf("container %s: %w", c.id, err)
}

// prepare makes a container with a process, in steps that back undoes.
func (c *container) prepare(ctx context.Context, mounts []*types.Mount, back *undo.Stack) error {
	if err := c.bundle.WriteOptions(c.opts); err != nil {
		return err
	}
	if len(mounts) > 0 {
		back.Push("unmount rootfs", func(context.Context) error { return c.unmount() })
		if err := c.mount(mounts); err != nil {
			return err
		}
	}
	if c.images.Path != "" {
		return nil
	}
	back.Push("close streams", func(context.Context) error { return c.init.streams.Close() })
	if err := c.init.streams.Open(ctx, c.owner(c.init), c.host.Children); err != nil {
		return err
	}
	// Before the command: one that is interrupted leaves half a container.
	back.Push("delete container", func(ctx context.Context) error { return c.runtime.Delete(ctx, c.id, true) })
	child, err := c.launch(c.init, c.bundle.InitPidFile(), func(p *oci.Process) error {
		return c.runtime.Create(ctx, c.id, string(c.bundle), p)
	})
	if err != nil {
		return err
	}
	c.adopt(c.init, child)
	c.findGroup()
	return nil
}

func (c *container) mount(mounts []*types.Mount) error {
	rootfs := c.bundle.Rootfs()
	if err := os.Mkdir(rootfs, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make rootfs: %w", err)
	}
	all := make([]mount.Mount, len(mounts))
	for i, m := range mounts {
		all[i] = mount.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options}
	}
	// A mount may run a helper program, whose zombie is not ours to reap.
	defer c.host.Children.Hold()()
	if err := mount.All(all, rootfs); err != nil {
		return fmt.Errorf("mount rootfs: %w", err)
	}
	return nil
}

// unmount takes the root filesystem away. One that is in use is detached, to
// go when it is no longer used.
func (c *container) unmount() error {
	rootfs := c.bundle.Rootfs()
	if mount.UnmountRecursive(rootfs, 0) == nil {
		return nil
	}
	if err := mount.UnmountRecursive(rootfs, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount rootfs: %w", err)
	}
	return nil
}

// launch runs a command of the runtime that makes a process, and connects the
// process's streams.
func (c *container) launch(p *process, pidFile string, run func(*oci.Process) error) (*reap.Child, error) {
	// Until the process is watched, no zombie may be taken for an orphan.
	defer c.host.Children.Hold()()
	target := &oci.Process{PidFile: pidFile}
	if p.streams.Config().Terminal {
		console, err := oci.NewConsole(string(c.bundle))
		if err != nil {
			return nil, err
		}
		defer console.Close()
		target.Console = console
	} else {
		target.IO = p.streams
	}
	_ = os.Remove(pidFile)
	if err := run(target); err != nil {
		// A command that was interrupted may have got as far as the process.
		if pid, perr := bundle.ReadPid(pidFile); perr == nil {
			c.host.Children.KillOrphan(pid)
		}
		return nil, err
	}
	pid, err := bundle.ReadPid(pidFile)
	if err != nil {
		return nil, fmt.Errorf("OCI runtime wrote no process number: %w", err)
	}
	child, err := c.host.Children.Watch(c.context(), pid)
	if err != nil {
		c.host.Children.KillOrphan(pid)
		return nil, err
	}
	connected := false
	defer func() {
		if !connected {
			_ = child.Signal(unix.SIGKILL)
		}
	}()
	if err := connect(p.streams, target.Console); err != nil {
		return nil, err
	}
	connected = true
	return child, nil
}

func connect(streams *stdio.Streams, console *oci.Console) error {
	if console == nil {
		return streams.Run(nil)
	}
	master, err := console.Receive()
	if err != nil {
		return err
	}
	return streams.Run(master)
}

// findGroup learns the control group of the init while it cannot move. A
// container without one of its own runs, with less to tell about it.
func (c *container) findGroup() {
	group, err := cgroup.Of(c.init.child.Pid())
	if err != nil {
		level := log.WarnLevel
		if errdefs.IsNotFound(err) {
			level = log.DebugLevel
		}
		c.log().WithError(err).Log(level, "no statistics and no out-of-memory events")
		return
	}
	if err := c.bundle.WriteCgroup(group); err != nil {
		c.log().WithError(err).Warn("control group not on record")
	}
	if err := group.EnableControllers(); err != nil {
		c.log().WithError(err).Debug("statistics may be incomplete")
	}
	c.mu.Lock()
	c.group = group
	c.mu.Unlock()
}

// announceCreated publishes the container. Its end can only be published
// after that.
func (c *container) announceCreated(r *taskapi.CreateTaskRequest) {
	if c.init.child != nil {
		defer c.watchInit()
	}
	c.host.Events.Put(&events.TaskCreate{
		ContainerID: c.id,
		Bundle:      r.Bundle,
		Rootfs:      r.Rootfs,
		IO:          &events.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
		Checkpoint:  r.Checkpoint,
		Pid:         uint32(c.initPid()),
	})
}

// watchInit follows the init until its end. Out-of-memory kills count from
// now on, as the first can come before the start has returned.
func (c *container) watchInit() {
	guard.Catch(c.context(), "watch for out-of-memory kills", c.watchKills, nil)()
	go guard.Catch(c.context(), "end of the init", c.awaitInit, nil)()
}

func (c *container) watchKills() {
	group := c.controlGroup()
	if group == nil {
		return
	}
	watch, err := group.WatchOOM(c.context(), &c.host.Kills, func() {
		c.host.Events.Put(&events.TaskOOM{ContainerID: c.id})
	})
	if err != nil {
		c.log().WithError(err).Debug("no out-of-memory events")
		return
	}
	if err := watch.Deaf(); err != nil {
		c.log().WithError(err).Warn("an out-of-memory kill is told when the container ends, not before")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oom = watch
}

func (c *container) initPid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init.pidLocked()
}
