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

// execDrain is how long an exec's streams are read on without result after its
// process has ended, where drain_exec_sync_io_timeout does not say: a child that it
// left behind can hold them open for ever.
const execDrain = 2 * time.Second

// maxExecDrain bounds how long the streams of an ExecSync are read after its process has ended,
// also when a child that it left behind goes on writing (CVE-2026-53495).
const maxExecDrain = 10 * time.Second

// execStart bounds the start of a command.
const execStart = time.Minute

// execKill bounds the wait for a process that was killed.
const execKill = 10 * time.Second

// Size is the size of a terminal, in characters.
type Size struct{ Width, Height uint16 }

// ExecOptions say what to run in a container and how to connect it. Nobody gets
// what is written to a nil stream.
type ExecOptions struct {
	Command        []string
	Terminal       bool
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan Size
}

// Result is what a command printed, up to 16 MB, and its exit code. When there was
// more, each stream keeps its half, and what the other does not need.
type Result struct {
	Stdout, Stderr []byte
	Code           uint32
}

// ExecSync runs a command and returns its result. timeout 0 is none; a command that takes longer is
// killed and the error is DeadlineExceeded. Of a command that ended in time the result is what has
// come of its output by the timeout. Processes that it left behind go on.
func (m *Manager) ExecSync(ctx context.Context, id string, args []string, timeout time.Duration) (Result, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("command %q took longer than %s: %w", args[:min(1, len(args))], timeout, context.DeadlineExceeded))
		defer cancel()
	}
	output := newExecOutput(m.outputs)
	defer output.release()
	code, err := m.run(ctx, id, command{
		ExecOptions: ExecOptions{Command: args, Stdout: output.stdout, Stderr: output.stderr},
		maxDrain:    maxExecDrain,
	})
	if err != nil {
		return Result{}, err
	}
	stdout, stderr := output.result()
	return Result{Stdout: stdout, Stderr: stderr, Code: code}, nil
}

// Exec runs a command in a running container, connected to the streams of opts,
// and returns its exit code. When ctx ends first the command is killed.
func (m *Manager) Exec(ctx context.Context, id string, opts ExecOptions) (uint32, error) {
	return m.run(ctx, id, command{ExecOptions: opts})
}

func (m *Manager) run(ctx context.Context, id string, c command) (uint32, error) {
	r, err := m.containers.Get(id)
	if err != nil {
		return 0, err
	}
	if err := spec.CheckCommand(c.Command); err != nil {
		return 0, fmt.Errorf("%s: exec: %w", r, err)
	}
	task, err := r.runningTask()
	if err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	c.containerd, c.record, c.pipes, c.idle = m.Containerd, r, m.Dirs.io(r.ID), cmp.Or(m.ExecDrain, execDrain)
	code, err := m.exec(ctx, c, task)
	if err != nil && ctx.Err() == nil && m.hasEnded(ctx, r, task) {
		err = fmt.Errorf("it has ended: %w (%w)", errdefs.ErrFailedPrecondition, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: exec: %w", r, err)
	}
	return code, nil
}

// exec runs a command. The shim is never asked with the caller's deadline: half a
// start would leave a process that nobody knows of. A caller that goes while the
// shim is busy, or stuck, does not wait for it: what has begun then is ended.
func (m *Manager) exec(ctx context.Context, c command, task runtime.Task) (uint32, error) {
	type begun struct {
		process process
		err     error
	}
	handed := make(chan begun)
	guard.Go(m.life, &m.wait, "exec", func() {
		p, err := guard.Value(m.life, "begin", func() (process, error) { return c.begin(m.life, task, m.NewID()) })
		select {
		case handed <- begun{p, err}:
		case <-ctx.Done():
			if err == nil {
				c.kill(m.life, p)
				c.delete(m.life, p)
			}
		}
	})
	select {
	case b := <-handed:
		if b.err != nil {
			return 0, b.err
		}
		return c.attend(ctx, b.process)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// command is one command on its way through a container.
type command struct {
	ExecOptions
	containerd Containerd
	record     *Record
	pipes      string        // directory
	idle       time.Duration // for the streams, after the exit
	maxDrain   time.Duration // for them, in all; 0 is no limit
}

// process is a command that runs.
type process struct {
	runtime.Process
	exited  <-chan runtime.ExitStatus
	stdin   *closingReader
	streams *execIO
}

// begin starts the command. life is that of the wait for its exit.
func (c command) begin(life context.Context, task runtime.Task, execID string) (process, error) {
	ctx, cancel := context.WithTimeout(life, execStart)
	defer cancel()
	spec, err := c.spec(ctx)
	if err != nil {
		return process{}, err
	}
	p := process{stdin: &closingReader{Reader: c.Stdin}}
	if p.Process, err = task.Exec(ctx, execID, spec, c.io(&p)); err != nil {
		return process{}, err
	}
	err = guard.Call(ctx, "start", func() error { return p.start(ctx, life) })
	if err == nil {
		return p, nil
	}
	_, panicked := errors.AsType[*guard.Panic](err)
	if p.exited != nil && (ctx.Err() != nil || panicked) {
		c.kill(life, p) // the shim has not answered: it may run
	}
	c.delete(life, p)
	return process{}, err
}

// start starts a process that is made. The wait for its end is there before.
func (p *process) start(ctx, life context.Context) (err error) {
	if p.exited, err = p.Wait(life); err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	return p.Start(ctx)
}

// attend connects a process with its client and returns its exit code. When ctx
// ends first it is killed.
func (c command) attend(ctx context.Context, p process) (uint32, error) {
	owned := context.WithoutCancel(ctx)
	defer c.delete(owned, p)
	p.stdin.afterEOF(func() {
		_ = runtime.CloseStdin(owned, p) // it may have ended
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

// drain reads the streams of a process that has ended to their end, or as long as they may take.
func (c command) drain(ctx context.Context, p process) {
	if c.maxDrain > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.maxDrain)
		defer cancel()
	}
	p.streams.drain(ctx, c.idle)
}

// spec is the process of the container's spec, with another command.
func (c command) spec(ctx context.Context) (*specs.Process, error) {
	spec, err := c.containerd.Spec(ctx, c.record.ID)
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

// io makes the streams of a process.
func (c command) io(p *process) cio.Creator {
	var stdin io.Reader
	if c.Stdin != nil {
		stdin = p.stdin
	}
	stdout, stderr := c.Stdout, c.Stderr
	if stdout == nil {
		stdout = io.Discard
	}
	// The shim of runc cannot start a process that has one stream and not the other.
	if stderr == nil && !c.Terminal {
		stderr = io.Discard
	}
	flow := newFlow()
	opts := []cio.Opt{cio.WithFIFODir(c.pipes), cio.WithStreams(stdin, flow.through(stdout), flow.through(stderr))}
	if c.Terminal {
		opts = append(opts, cio.WithTerminal)
	}
	create := cio.NewCreator(opts...)
	return func(id string) (cio.IO, error) {
		made, err := create(id)
		if err != nil {
			return nil, err
		}
		p.streams = newExecIO(made, flow)
		return p.streams, nil
	}
}

func (c command) kill(ctx context.Context, p process) {
	ctx, cancel := context.WithTimeout(ctx, execKill)
	defer cancel()
	if err := p.Kill(ctx, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", c.record.ID).Warn("exec whose caller has gone is not killed")
		return
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
	}
}

func (c command) delete(ctx context.Context, p process) {
	ctx, cancel := context.WithTimeout(ctx, execKill)
	defer cancel()
	if _, err := p.Delete(ctx); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", c.record.ID).Warn("exec is not deleted")
	}
}

// resizer is a task or a process with a terminal.
type resizer interface {
	Resize(ctx context.Context, width, height uint32) error
}

// resize passes on the sizes of a terminal until they or ctx end.
func resize(ctx context.Context, terminal resizer, sizes <-chan Size) {
	for {
		select {
		case size, open := <-sizes:
			if !open {
				return
			}
			if err := terminal.Resize(ctx, uint32(size.Width), uint32(size.Height)); err != nil {
				log.G(ctx).WithError(err).Debug("terminal is not resized")
			}
		case <-ctx.Done():
			return
		}
	}
}
