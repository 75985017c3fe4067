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

// Exec promises to run a command in a running container. Errors: NotFound,
// FailedPrecondition if it is not running, InvalidArgument, ResourceExhausted.
func (s *Server) Exec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := spec.CheckCommand(req.GetCmd()); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	want := remotecommand.Options{Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(), TTY: req.GetTty()}
	r, err := s.target("exec", req.GetContainerId(), want)
	if err != nil {
		return nil, err
	}
	url, err := s.promise("exec", func(w http.ResponseWriter, hr *http.Request) {
		ctx, cancel := s.execContext(hr.Context(), want.TTY)
		defer cancel()
		c := command{want, func(client streams) error { return s.exec(ctx, r.ID, req.GetCmd(), client) }}
		if wantsV5(hr) {
			s.serveV5(w, hr, c)
			return
		}
		remotecommand.ServeExec(w, hr, c, "", "", r.ID, req.GetCmd(), &want,
			s.idle, s.creation, remotecommand.SupportedStreamingProtocols)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecResponse{Url: url}, nil
}

// Attach promises to connect to a running container. Errors as for Exec.
func (s *Server) Attach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	want := remotecommand.Options{Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(), TTY: req.GetTty()}
	r, err := s.target("attach", req.GetContainerId(), want)
	if err != nil {
		return nil, err
	}
	url, err := s.promise("attach", func(w http.ResponseWriter, hr *http.Request) {
		c := command{want, func(client streams) error { return s.attach(hr.Context(), r.ID, client) }}
		if wantsV5(hr) {
			s.serveV5(w, hr, c)
			return
		}
		remotecommand.ServeAttach(w, hr, c, "", "", r.ID, &want,
			s.idle, s.creation, remotecommand.SupportedStreamingProtocols)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.AttachResponse{Url: url}, nil
}

// target checks what is asked of a container and that it runs.
func (s *Server) target(verb, id string, want remotecommand.Options) (*container.Record, error) {
	if want.TTY && want.Stderr {
		return nil, invalid("%s: a terminal has no stderr of its own: ask for tty or for stderr", verb)
	}
	if !want.Stdin && !want.Stdout && !want.Stderr {
		return nil, invalid("%s: ask for one of stdin, stdout and stderr", verb)
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

// execContext ends when a command is to be killed: with its client if it has a
// terminal, as a hang-up does, and with the server at the latest. A command
// without a terminal goes on without its client, as with other runtimes.
func (s *Server) execContext(request context.Context, terminal bool) (context.Context, context.CancelFunc) {
	if terminal {
		return context.WithCancel(request)
	}
	return context.WithCancel(s.life)
}

// streams are what a client has connected; those that it did not ask for are nil.
type streams struct {
	in       io.Reader
	out, err io.WriteCloser
	terminal bool
	resize   <-chan remotecommand.TerminalSize
}

// close tells the client that no more output follows, before it gets the status.
func (s streams) close() {
	for _, w := range []io.WriteCloser{s.out, s.err} {
		if w != nil {
			w.Close()
		}
	}
}

// exec runs a command. The exit code, if it is not 0, goes to the client as the
// one error type that the library knows.
func (s *Server) exec(ctx context.Context, id string, cmd []string, client streams) error {
	ctx, cancel := context.WithCancel(ctx) // the end of the sizes, too
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

// sizes passes on the sizes of a terminal until they or ctx end. The client never
// waits for the container to take one: only the newest is kept.
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
				case <-to: // an older one that nobody has taken
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

// command is an exec or attach as the library calls it.
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

// AttachContainer attaches. Over WebSocket all streams exist, over SPDY those
// that the client made: only those that were promised count. The client is told of a
// panic as of any error.
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
