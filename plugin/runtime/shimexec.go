// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/execsync"
)

// ShimExecs runs commands by the service of lite shims for ExecSync (docs/decisions/0019).
type ShimExecs struct {
	// Bundles is the directory with the bundles of our containerd namespace.
	Bundles string
}

// ShimCommand is a command to run in a task.
type ShimCommand struct {
	Task   string
	ExecID string
	Args   []string
	// Stdout and Stderr receive the output. Their Write must not block.
	Stdout, Stderr io.Writer
	// Idle and MaxDrain bound how long output is read after the exit of the command: the time
	// without output, and the whole time.
	Idle, MaxDrain time.Duration
}

// Run runs a command and returns its exit code. If ctx ends before the command has exited, the shim
// kills the command, and the error is the cause. If ctx ends later, only the output is incomplete.
//
// The error is errdefs.ErrNotImplemented if the shim does not have the service; nothing was run.
func (s ShimExecs) Run(ctx context.Context, c ShimCommand) (uint32, error) {
	defer inShim(ctx, "run of an exec", c.Task)() // as long as the command
	code, err := s.run(ctx, c)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return code, err
}

func (s ShimExecs) run(ctx context.Context, c ShimCommand) (uint32, error) {
	shim, err := dialShim(s.Bundles, c.Task)
	if err != nil {
		return 0, err
	}
	// The shim kills the command when the connection is closed. Closing it also interrupts the
	// request to a shim that does not read.
	defer shim.Close()
	defer context.AfterFunc(ctx, func() { shim.Close() })()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := c.request(reading, shim)
	if err != nil {
		return 0, c.explain(err)
	}
	a := &answer{command: c, stop: stop}
	defer a.close()
	for {
		var message anypb.Any
		if err = stream.RecvMsg(&message); err == nil {
			err = a.receive(&message)
		}
		switch {
		case err == nil:
		case a.exited && (errors.Is(err, io.EOF) || reading.Err() != nil):
			return a.code, nil
		default:
			return 0, c.explain(err)
		}
	}
}

func (c ShimCommand) request(ctx context.Context, shim *ttrpc.Client) (ttrpc.ClientStream, error) {
	command := execsync.Command{Args: c.Args}
	if deadline, ok := ctx.Deadline(); ok {
		command.Timeout = max(time.Until(deadline), 1)
	}
	request, err := command.Request(c.Task, c.ExecID)
	if err != nil {
		return nil, err
	}
	return shim.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, execsync.Service, execsync.MethodRun, request)
}

// explain converts an error of ttrpc.
func (c ShimCommand) explain(err error) error {
	if errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("shim of task %s: %w: %w", c.Task, errdefs.ErrUnavailable, err)
	}
	return errgrpc.ToNative(err)
}

// answer is what a shim has answered so far.
type answer struct {
	command ShimCommand
	exited  bool
	code    uint32
	// stop stops reading. drain calls it, and is set when the command has exited.
	stop  func()
	drain *time.Timer
	end   time.Time // of the whole drain
}

// receive processes a message. A message of an unknown kind is ignored.
func (a *answer) receive(m *anypb.Any) (err error) {
	switch m.GetTypeUrl() {
	case execsync.Stdout:
		_, err = a.command.Stdout.Write(m.GetValue())
	case execsync.Stderr:
		_, err = a.command.Stderr.Write(m.GetValue())
	case execsync.Exited:
		a.exited = true
		a.code, err = execsync.ParseExit(m)
	}
	if a.exited {
		a.limit()
	}
	return err
}

// limit bounds the time until the next message, and from its first call the time of all messages.
func (a *answer) limit() {
	if a.drain == nil {
		a.end = time.Now().Add(a.command.MaxDrain)
		a.drain = time.AfterFunc(min(a.command.Idle, a.command.MaxDrain), a.stop)
		return
	}
	a.drain.Reset(min(a.command.Idle, time.Until(a.end)))
}

func (a *answer) close() {
	if a.drain != nil {
		a.drain.Stop()
	}
}
