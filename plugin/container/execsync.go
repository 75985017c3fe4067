// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// execDrainTimeout bounds how long the streams of an ExecSync are read after its process has
// exited, even if a child process keeps writing to them (CVE-2026-53495).
const execDrainTimeout = 10 * time.Second

// Result is the output of a command, up to 16 MB, and its exit code. If the command printed more,
// each stream keeps up to half of that, plus the part that the other stream does not use. The
// result has less output if other ExecSync calls use the memory (see execPoolSize).
type Result struct {
	Stdout, Stderr []byte
	Code           uint32
}

// ShimExecs runs a command by one call of a lite shim. The error is NotImplemented, and nothing was
// run, if the shim does not have the call.
type ShimExecs interface {
	Run(ctx context.Context, c runtime.ShimCommand) (uint32, error)
}

// ExecSync runs a command and returns its result. A timeout of 0 means no timeout. A command that
// takes longer is killed, and the error is DeadlineExceeded. For a command that exits in time, the
// result contains the output that was read before the timeout. Child processes that the command
// leaves behind keep running.
func (m *Manager) ExecSync(ctx context.Context, id string, args []string, timeout time.Duration) (Result, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("command %q took longer than %s: %w", args[:min(1, len(args))], timeout, context.DeadlineExceeded))
		defer cancel()
	}
	return m.execs.runSync(ctx, id, args)
}

func (e *execs) runSync(ctx context.Context, id string, args []string) (Result, error) {
	output := newExecOutput(e.outputs)
	defer output.release()
	code, err := e.run(ctx, id, args, func(r *Record, task runtime.Task) (uint32, error) {
		if r.Runtime.ShimWritesLog && !r.life.noShimExec.Load() {
			code, err := e.runInShim(ctx, r, args, output)
			if !errdefs.IsNotImplemented(err) {
				return code, err
			}
			r.life.noShimExec.Store(true) // a shim of an earlier release
		}
		c := e.command(r, ExecOptions{Command: args, Stdout: output.stdout, Stderr: output.stderr})
		c.maxDrain = execDrainTimeout
		return e.exec(ctx, c, task)
	})
	if err != nil {
		return Result{}, err
	}
	stdout, stderr := output.result()
	return Result{Stdout: stdout, Stderr: stderr, Code: code}, nil
}

// runInShim runs a command by one call of a lite shim.
func (e *execs) runInShim(ctx context.Context, r *Record, args []string, output *execOutput) (uint32, error) {
	return e.shims.Run(ctx, runtime.ShimCommand{
		Task:     r.ID,
		ExecID:   e.newID(),
		Args:     args,
		Stdout:   output.stdout,
		Stderr:   output.stderr,
		Idle:     e.idle(),
		MaxDrain: execDrainTimeout,
	})
}
