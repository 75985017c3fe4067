// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/execsync"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// execStartTimeout bounds the runtime's start of the command of an ExecSync.
const execStartTimeout = time.Minute

// execSync runs a command and sends its output; see package execsync. When the client closes the
// connection, or when the command's time is over, the command is killed with its process group.
func (s *Service) execSync(ctx context.Context, r *taskapi.ExecProcessRequest, send sender) (proto.Message, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	command, err := execsync.ParseRequest(r)
	if err != nil {
		return nil, fmt.Errorf("container %s: exec %s: %w", r.ID, r.ExecID, err)
	}
	if command.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, command.Timeout)
		defer cancel()
	}
	outputs := [2]*output{newOutput(execsync.Stdout, send), newOutput(execsync.Stderr, send)}
	e, err := c.newSyncExec(r.ExecID, command.Args, outputs)
	if err != nil {
		return nil, err
	}
	if err := c.addExec(e); err != nil {
		return nil, err
	}
	defer c.endExec(e)
	code, err := e.run(ctx)
	if err != nil {
		return nil, err
	}
	exit := execsync.Exit(code)
	return exit, awaitOutputs(ctx, outputs, func() error { return send(exit) })
}

// newSyncExec returns an exec with the process of the container's spec and other args. It has no
// events: no client of the Task API has created it.
func (c *container) newSyncExec(id string, args []string, outputs [2]*output) (*exec, error) {
	e, err := c.newExec(id, stdio.Into(outputs[0], outputs[1]))
	if err != nil {
		return nil, err
	}
	e.silent = true
	if e.spec, err = bundle.ReadProcess(c.bundle); err != nil {
		return nil, e.wrap(err)
	}
	e.spec.Args, e.spec.Terminal = args, false
	return e, nil
}

// run starts the process, waits for its exit and returns its exit status. The start continues if
// ctx ends: a runtime command that is interrupted can leave a process that the shim does not know.
func (e *exec) run(ctx context.Context) (int, error) {
	if ctx.Err() != nil {
		return 0, e.wrap(context.Cause(ctx))
	}
	starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), execStartTimeout)
	defer cancel()
	if _, err := e.start(starting); err != nil {
		return 0, err
	}
	select {
	case <-e.done:
		return e.exit.Status, nil
	case <-ctx.Done():
		return 0, e.wrap(context.Cause(ctx))
	}
}

// endExec kills an exec that is still running, and removes it after its end. Its streams are closed
// even if another process holds them open.
func (c *container) endExec(e *exec) {
	switch err := e.signal(unix.SIGKILL); {
	case err == nil:
		<-e.done
	case !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err): // ended, or not started
		c.log().WithError(err).WithField("exec", e.execID).Error("exec not killed; its process may still run")
	}
	_ = e.streams.Close()
	c.forgetExec(e)
}

// awaitOutputs waits until the outputs have ended or ctx ends. It calls exited first if an output
// is still open.
func awaitOutputs(ctx context.Context, outputs [2]*output, exited func() error) error {
	announced := false
	for _, o := range outputs {
		if o.hasEnded() {
			continue
		}
		if !announced {
			if err := exited(); err != nil {
				return err
			}
			announced = true
		}
		select {
		case <-o.ended:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// output sends what a command writes to one of its streams, up to a limit.
type output struct {
	name  string
	send  sender
	left  int // bytes that may still be sent
	close func()
	ended chan struct{} // closed by Close
}

func newOutput(name string, send sender) *output {
	o := &output{name: name, send: send, left: execsync.MaxOutput, ended: make(chan struct{})}
	o.close = sync.OnceFunc(func() { close(o.ended) })
	return o
}

// Write implements io.Writer. It drops what exceeds the limit.
func (o *output) Write(p []byte) (int, error) {
	for chunk := range slices.Chunk(p[:min(len(p), o.left)], execsync.MaxChunk) {
		o.left -= len(chunk)
		if err := o.send(&anypb.Any{TypeUrl: o.name, Value: chunk}); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close implements io.Closer.
func (o *output) Close() error { o.close(); return nil }

func (o *output) hasEnded() bool {
	select {
	case <-o.ended:
		return true
	default:
		return false
	}
}
