// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Exec returns a URL that runs a command in a running container. Errors: NotFound,
// FailedPrecondition if the container is not running, InvalidArgument, ResourceExhausted.
func (s *Server) Exec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := spec.CheckCommand(req.GetCmd()); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	want := remotecommand.Options{Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(), TTY: req.GetTty()}
	r, err := s.target("exec", req.GetContainerId(), want)
	if err != nil {
		return nil, err
	}
	url, err := s.register("exec", func(w http.ResponseWriter, hr *http.Request) {
		ctx, cancel := s.execContext(hr.Context(), want.TTY)
		defer cancel()
		c := command{want, func(client streams) error { return s.exec(ctx, r.ID, req.GetCmd(), client) }}
		if wantsV5(hr) {
			s.serveV5(w, hr, c)
			return
		}
		remotecommand.ServeExec(w, hr, c, "", "", r.ID, req.GetCmd(), &want,
			s.endpoint.Load().opts.IdleTimeout, s.creationTimeout, remotecommand.SupportedStreamingProtocols)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecResponse{Url: url}, nil
}

// Attach returns a URL that attaches to a running container. The errors are those of Exec.
func (s *Server) Attach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	want := remotecommand.Options{Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(), TTY: req.GetTty()}
	r, err := s.target("attach", req.GetContainerId(), want)
	if err != nil {
		return nil, err
	}
	url, err := s.register("attach", func(w http.ResponseWriter, hr *http.Request) {
		c := command{want, func(client streams) error { return s.attach(hr.Context(), r.ID, client) }}
		if wantsV5(hr) {
			s.serveV5(w, hr, c)
			return
		}
		remotecommand.ServeAttach(w, hr, c, "", "", r.ID, &want,
			s.endpoint.Load().opts.IdleTimeout, s.creationTimeout, remotecommand.SupportedStreamingProtocols)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.AttachResponse{Url: url}, nil
}

// target returns the container of a request, after it has checked the requested streams and that
// the container is running.
func (s *Server) target(verb, id string, want remotecommand.Options) (*container.Record, error) {
	if want.TTY && want.Stderr {
		return nil, invalid("%s: a terminal has no separate stderr: request tty or stderr, not both", verb)
	}
	if !want.Stdin && !want.Stdout && !want.Stderr {
		return nil, invalid("%s: request at least one of stdin, stdout and stderr", verb)
	}
	r, err := s.containers.Get(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	if r.State() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, fmt.Errorf("%s: %s is not running: %w", verb, r, errdefs.ErrFailedPrecondition)
	}
	return r, nil
}

// execContext returns the context of a command, which is killed when the context ends. With a
// terminal it ends when the client disconnects, like a hang-up. Without a terminal the command goes
// on without its client, as with other runtimes, until the server ends.
func (s *Server) execContext(request context.Context, terminal bool) (context.Context, context.CancelFunc) {
	if terminal {
		return context.WithCancel(request)
	}
	return context.WithCancel(s.life)
}

// streams are the streams of a client. Those that it did not request are nil.
type streams struct {
	in       io.Reader
	out, err io.WriteCloser
	terminal bool
	resize   <-chan remotecommand.TerminalSize
}

// close reports the end of output to the client, before the client gets the status.
func (s streams) close() {
	for _, w := range []io.WriteCloser{s.out, s.err} {
		if w != nil {
			w.Close()
		}
	}
}

// exec runs a command. A non-zero exit code is returned as the error type that the library expects.
func (s *Server) exec(ctx context.Context, id string, cmd []string, client streams) error {
	ctx, cancel := context.WithCancel(ctx) // also ends sizes
	defer cancel()
	defer client.close()
	code, err := s.containers.Exec(ctx, id, container.ExecOptions{
		Command:  cmd,
		Terminal: client.terminal,
		Stdin:    client.in,
		Stdout:   client.out,
		Stderr:   client.err,
		Resize:   sizes(ctx, client.resize),
	})
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: int(code)}
	}
	return nil
}

func (s *Server) attach(ctx context.Context, id string, client streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer client.close()
	return s.containers.Attach(ctx, id, container.AttachOptions{
		Stdin:  client.in,
		Stdout: client.out,
		Stderr: client.err,
		Resize: sizes(ctx, client.resize),
	})
}

// sizes forwards the sizes of a terminal until the input or ctx ends. It keeps only the newest
// size, so that the client never waits for the container.
func sizes(ctx context.Context, from <-chan remotecommand.TerminalSize) <-chan container.Size {
	if from == nil {
		return nil
	}
	to := make(chan container.Size, 1)
	guard.Go(ctx, nil, "sizes of terminal", func() {
		defer close(to)
		for {
			select {
			case size, open := <-from:
				if !open {
					return
				}
				if size.Width == 0 || size.Height == 0 {
					continue
				}
				select {
				case <-to: // drop an older size
				default:
				}
				to <- container.Size{Width: size.Width, Height: size.Height}
			case <-ctx.Done():
				return
			}
		}
	})
	return to
}

// command implements the library's interfaces for an exec or attach.
type command struct {
	want remotecommand.Options
	run  func(streams) error
}

var (
	_ remotecommand.Executor = command{}
	_ remotecommand.Attacher = command{}
)

// ExecInContainer runs the command.
//
//nolint:revive // the arguments are the library's
func (c command) ExecInContainer(ctx context.Context, name, uid, id string, _ []string, in io.Reader, out, err io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return c.AttachContainer(ctx, name, uid, id, in, out, err, tty, resize)
}

// AttachContainer runs the exec or attach. Only requested streams are connected: over WebSocket the
// library passes all streams, over SPDY those that the client created. The client gets a panic like
// any other error.
//
//nolint:revive // the arguments are the library's
func (c command) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, err io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize) error {
	client := streams{terminal: tty, resize: resize}
	if c.want.Stdin {
		client.in = in
	}
	if c.want.Stdout {
		client.out = out
	}
	if c.want.Stderr {
		client.err = err
	}
	return guard.Call(ctx, "stream", func() error { return c.run(client) })
}
