// SPDX-License-Identifier: Apache-2.0

package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// execIdleTimeout is the default of drain_exec_sync_io_timeout: the streams of an exec are closed
// if its process has exited and no output arrives for this time. A child process can hold the
// streams open indefinitely.
const execIdleTimeout = 2 * time.Second

const execStartTimeout = time.Minute

// execKillTimeout bounds the wait for a killed process to exit, and the call that deletes it.
const execKillTimeout = 10 * time.Second

// Size is the size of a terminal in characters.
type Size struct{ Width, Height uint16 }

// ExecOptions describes a command and its streams. Output for a nil stream is discarded.
type ExecOptions struct {
	Command        []string
	Terminal       bool
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan Size
}

// Exec runs a command in a running container, connected to the streams of opts, and returns its
// exit code. If ctx ends first, the command is killed.
func (m *Manager) Exec(ctx context.Context, id string, opts ExecOptions) (uint32, error) {
	return m.execs.run(ctx, id, opts.Command, func(r *Record, task runtime.Task) (uint32, error) {
		return m.execs.exec(ctx, m.execs.command(r, opts), task)
	})
}

// execs runs commands in containers. It kills a process that the shim starts after the caller gave
// up, and bounds the memory for the output of all ExecSync calls.
type execs struct {
	containers *containerStore
	containerd Containerd
	shims      ShimExecs
	dirs       Dirs
	drain      func() time.Duration // see ExecSyncOptions
	newID      func() string
	watcher    *watcher
	background *background
	outputs    *outputPool
}

// idle returns the time limit for the output of a command that has ended; see command.
func (e *execs) idle() time.Duration { return cmp.Or(e.drain(), execIdleTimeout) }

func newExecs(d Deps, w *watcher) *execs {
	return &execs{
		containers: w.containers,
		containerd: d.Containerd,
		shims:      d.Execs.Shims,
		dirs:       d.Dirs,
		drain:      d.Execs.Drain,
		newID:      d.NewID,
		watcher:    w,
		background: w.background,
		outputs:    newOutputPool(),
	}
}

// run calls do for a running container, and adds the container to the error. args is the command
// that do runs.
func (e *execs) run(ctx context.Context, id string, args []string, do func(*Record, runtime.Task) (uint32, error)) (uint32, error) {
	r, err := e.containers.Get(id)
	if err != nil {
		return 0, err
	}
	if err := spec.CheckCommand(args); err != nil {
		return 0, fmt.Errorf("%s: exec: %w", r, err)
	}
	task, err := r.runningTask()
	if err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	code, err := do(r, task)
	if err != nil && ctx.Err() == nil && e.watcher.hasEnded(ctx, r, task) {
		err = fmt.Errorf("the container has exited: %w (%w)", errdefs.ErrFailedPrecondition, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: exec: %w", r, err)
	}
	return code, nil
}

// command returns a command of a container.
func (e *execs) command(r *Record, opts ExecOptions) command {
	return command{ExecOptions: opts, containerd: e.containerd, record: r, pipes: e.dirs.Container(r.ID).IO(), idle: e.idle()}
}

// exec runs a command. Calls to the shim do not use the caller's context: an interrupted start
// would leave a process that the daemon does not know of. If ctx ends while the shim is busy or
// stuck, exec returns at once; a process that the shim starts later is killed.
func (e *execs) exec(ctx context.Context, c command, task runtime.Task) (uint32, error) {
	type startResult struct {
		process process
		err     error
	}
	started := make(chan startResult)
	e.background.run("exec", func(background context.Context) {
		p, err := guard.Value(background, "begin", func() (process, error) { return c.begin(background, task, e.newID()) })
		select {
		case started <- startResult{p, err}:
		case <-ctx.Done():
			if err == nil {
				c.kill(background, p)
				c.delete(background, p)
			}
		}
	})
	select {
	case b := <-started:
		if b.err != nil {
			return 0, b.err
		}
		return c.wait(ctx, b.process)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// command is one exec in a container.
type command struct {
	ExecOptions
	containerd Containerd
	record     *Record
	pipes      string        // directory of the FIFOs
	idle       time.Duration // timeout of streams without output, after the exit
	maxDrain   time.Duration // timeout of reading the streams after the exit; 0 is none
}

// process is the started process of a command.
type process struct {
	runtime.Process
	exited  <-chan runtime.ExitStatus
	stdin   *eofReader
	streams *execIO
}

// begin starts the command. background bounds the wait for its exit.
func (c command) begin(background context.Context, task runtime.Task, execID string) (process, error) {
	ctx, cancel := context.WithTimeout(background, execStartTimeout)
	defer cancel()
	spec, err := c.spec(ctx)
	if err != nil {
		return process{}, err
	}
	p := process{stdin: &eofReader{Reader: c.Stdin}}
	if p.Process, err = task.Exec(ctx, execID, spec, c.io(&p)); err != nil {
		return process{}, err
	}
	err = guard.Call(ctx, "start", func() error { return p.start(ctx, background) })
	if err == nil {
		return p, nil
	}
	_, panicked := errors.AsType[*guard.Panic](err)
	if p.exited != nil && (ctx.Err() != nil || panicked) {
		c.kill(background, p) // the shim did not answer: the process may run
	}
	c.delete(background, p)
	return process{}, err
}

// start starts a process that was created. The wait for its exit begins before the start.
func (p *process) start(ctx, background context.Context) (err error) {
	if p.exited, err = p.Wait(background); err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	return p.Start(ctx)
}

// wait connects a process with its client and returns the exit code. If ctx ends first, the process
// is killed.
func (c command) wait(ctx context.Context, p process) (uint32, error) {
	owned := context.WithoutCancel(ctx)
	defer c.delete(owned, p)
	p.stdin.onEOF(func() {
		_ = runtime.CloseStdin(owned, p) // fails if the process has exited
	})
	resized, stopResizing := context.WithCancel(ctx)
	defer stopResizing()
	guard.Go(resized, nil, "resize terminal", func() { resize(resized, p, c.Resize) })

	select {
	case status := <-p.exited:
		code, _, err := status.Result()
		c.drain(ctx, p)
		return code, err
	case <-ctx.Done():
		p.streams.Close()
		c.kill(owned, p)
		return 0, context.Cause(ctx)
	}
}

// drain reads the streams of an exited process to their end, or until a timeout.
func (c command) drain(ctx context.Context, p process) {
	if c.maxDrain > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.maxDrain)
		defer cancel()
	}
	p.streams.drain(ctx, c.idle)
}

// spec returns the process of the container's spec, with the arguments of this command.
func (c command) spec(ctx context.Context) (*specs.Process, error) {
	spec, _, err := c.containerd.Spec(ctx, c.record.ID)
	if err != nil {
		return nil, fmt.Errorf("spec of container: %w", err)
	}
	process := spec.Process
	process.Args = c.Command
	process.Terminal = c.Terminal
	if c.Terminal {
		process.Env = append(process.Env, "TERM=xterm")
	}
	return process, nil
}

// io returns the function that creates the streams of a process.
func (c command) io(p *process) cio.Creator {
	var stdin io.Reader
	if c.Stdin != nil {
		stdin = p.stdin
	}
	stdout, stderr := c.Stdout, c.Stderr
	if stdout == nil {
		stdout = io.Discard
	}
	// containerd-shim-runc-v2 cannot start a process that has only one of stdout and stderr.
	if stderr == nil && !c.Terminal {
		stderr = io.Discard
	}
	traffic := newTraffic()
	opts := []cio.Opt{cio.WithFIFODir(c.pipes), cio.WithStreams(stdin, traffic.writer(stdout), traffic.writer(stderr))}
	if c.Terminal {
		opts = append(opts, cio.WithTerminal)
	}
	create := cio.NewCreator(opts...)
	return func(id string) (cio.IO, error) {
		made, err := create(id)
		if err != nil {
			return nil, err
		}
		p.streams = newExecIO(made, traffic)
		return p.streams, nil
	}
}

func (c command) kill(ctx context.Context, p process) {
	ctx, cancel := context.WithTimeout(ctx, execKillTimeout)
	defer cancel()
	if err := p.Kill(ctx, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", c.record.ID).Warn("exec not killed; its process may still run")
		return
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
	}
}

func (c command) delete(ctx context.Context, p process) {
	ctx, cancel := context.WithTimeout(ctx, execKillTimeout)
	defer cancel()
	if _, err := p.Delete(ctx); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", c.record.ID).Warn("exec not deleted from its shim")
	}
}

// resizer is a task or a process that has a terminal.
type resizer interface {
	Resize(ctx context.Context, width, height uint32) error
}

// resize forwards the sizes of a terminal until the channel is closed or ctx ends.
func resize(ctx context.Context, terminal resizer, sizes <-chan Size) {
	for {
		select {
		case size, open := <-sizes:
			if !open {
				return
			}
			if err := terminal.Resize(ctx, uint32(size.Width), uint32(size.Height)); err != nil {
				log.G(ctx).WithError(err).Debug("terminal not resized")
			}
		case <-ctx.Done():
			return
		}
	}
}
