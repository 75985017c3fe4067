// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/execsync"
)

// execHandler is the service for ExecSync of a fake shim.
type execHandler func(ctx context.Context, c execsync.Command, send func(*anypb.Any)) (*anypb.Any, error)

// fakeShim serves ExecSync for the task "web" and returns the client. Without a handler it is a
// shim that does not have the service.
func fakeShim(t *testing.T, handle execHandler) ShimExecs {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	if handle != nil {
		server.RegisterService(execsync.Service, &ttrpc.ServiceDesc{Streams: map[string]ttrpc.Stream{
			execsync.MethodRun: {StreamingServer: true, Handler: handle.serve},
		}})
	}
	s, listener := listeningShim(t)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(context.Background(), listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return s
}

func (h execHandler) serve(ctx context.Context, stream ttrpc.StreamServer) (any, error) {
	var request taskapi.ExecProcessRequest
	if err := stream.RecvMsg(&request); err != nil {
		return nil, err
	}
	command, err := execsync.ParseRequest(&request)
	if err == nil && (request.ID != "web" || request.ExecID != "probe") {
		err = fmt.Errorf("request for exec %q of task %q: %w", request.ExecID, request.ID, errdefs.ErrInvalidArgument)
	}
	var last *anypb.Any
	if err == nil {
		last, err = h(ctx, command, func(m *anypb.Any) { _ = stream.SendMsg(m) })
	}
	if err != nil || last == nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return last, nil
}

// listeningShim returns the client of a shim that accepts connections and does nothing else.
func listeningShim(t *testing.T) (ShimExecs, net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	bundle := filepath.Join(dir, "web")
	if err := os.Mkdir(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf(`{"version":3,"address":"unix://%s","protocol":"ttrpc"}`, socket)
	if err := os.WriteFile(filepath.Join(bundle, "bootstrap.json"), []byte(address), 0o600); err != nil {
		t.Fatal(err)
	}
	return ShimExecs{Bundles: dir}, listener
}

// command returns a command whose output is collected, and read for hours after its exit.
func command() (c ShimCommand, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return ShimCommand{
		Task: "web", ExecID: "probe", Args: []string{"check", "it"}, Stdout: stdout, Stderr: stderr,
		Idle: time.Hour, MaxDrain: time.Hour,
	}, stdout, stderr
}

func chunk(name, text string) *anypb.Any { return &anypb.Any{TypeUrl: name, Value: []byte(text)} }

// Output is passed on until the end of the answer, also after the exit. The shim gets the time that
// is left.
func TestShimExec(t *testing.T) {
	var got execsync.Command
	s := fakeShim(t, func(_ context.Context, c execsync.Command, send func(*anypb.Any)) (*anypb.Any, error) {
		got = c
		send(chunk(execsync.Stdout, "one "))
		send(chunk(execsync.Stderr, "bad"))
		send(chunk("of a later release", "ignored"))
		send(execsync.Exit(7))
		send(chunk(execsync.Stdout, "two"))
		return execsync.Exit(7), nil
	})
	for _, limit := range []time.Duration{0, time.Hour} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if limit > 0 {
			ctx, cancel = context.WithTimeout(ctx, limit)
		}
		c, stdout, stderr := command()
		code, err := s.Run(ctx, c)
		cancel()
		if err != nil || code != 7 || stdout.String() != "one two" || stderr.String() != "bad" {
			t.Errorf("Run = %d, %v, stdout %q, stderr %q", code, err, stdout, stderr)
		}
		if diff := cmp.Diff(c.Args, got.Args); diff != "" || got.Timeout > limit || (got.Timeout == 0) != (limit == 0) {
			t.Errorf("the shim got a timeout of %s, want %s or a bit less; args (-want +got):\n%s", got.Timeout, limit, diff)
		}
	}
}

func TestShimExecErrors(t *testing.T) {
	paused := fmt.Errorf("the container is paused: %w", errdefs.ErrFailedPrecondition)
	deaf, listener := listeningShim(t)
	listener.Close()
	hangsUp, listener := listeningShim(t)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close()
		}
	}()
	for name, test := range map[string]struct {
		shim ShimExecs
		is   func(error) bool
	}{
		"no service":      {fakeShim(t, nil), errdefs.IsNotImplemented},
		"no bundle":       {ShimExecs{Bundles: t.TempDir()}, errdefs.IsNotFound},
		"no shim":         {deaf, errdefs.IsUnavailable},
		"connection lost": {hangsUp, errdefs.IsUnavailable},
		"refused": {
			fakeShim(t, func(context.Context, execsync.Command, func(*anypb.Any)) (*anypb.Any, error) { return nil, paused }),
			func(err error) bool { return errdefs.IsFailedPrecondition(err) && err.Error() == paused.Error() },
		},
		"no exit code": {
			fakeShim(t, func(context.Context, execsync.Command, func(*anypb.Any)) (*anypb.Any, error) { return nil, nil }),
			func(err error) bool { return err != nil },
		},
	} {
		c, _, _ := command()
		if code, err := test.shim.Run(t.Context(), c); !test.is(err) {
			t.Errorf("%s: Run = %d, %v (%T)", name, code, err, err)
		}
	}
}

// If the caller gives up, Run returns the cause, and the shim sees that the connection is closed.
func TestShimExecCanceled(t *testing.T) {
	gone := make(chan struct{})
	running := make(chan struct{})
	s := fakeShim(t, func(ctx context.Context, _ execsync.Command, _ func(*anypb.Any)) (*anypb.Any, error) {
		close(running)
		<-ctx.Done()
		close(gone)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-running
		cancel(errGaveUp)
	}()
	c, _, _ := command()
	if _, err := s.Run(ctx, c); !errors.Is(err, errGaveUp) {
		t.Errorf("Run = %v, want the cause", err)
	}
	<-gone
}

var errGaveUp = errors.New("the caller gave up")

// A shim that does not read blocks a long request, but not longer than the caller waits.
func TestShimExecStuck(t *testing.T) {
	s, _ := listeningShim(t)
	c, _, _ := command()
	c.Args = []string{string(make([]byte, 2<<20))}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errGaveUp)
	defer cancel()
	if _, err := s.Run(ctx, c); !errors.Is(err, errGaveUp) {
		t.Errorf("Run = %v, want the cause", err)
	}
}

// writer is a function that reads output.
type writer func()

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

// A process that the command left behind holds its output open. The exit code is returned after a
// time without output, after a time at all, and when the caller's time is over.
func TestShimExecDrain(t *testing.T) {
	silent := fakeShim(t, func(ctx context.Context, _ execsync.Command, send func(*anypb.Any)) (*anypb.Any, error) {
		send(execsync.Exit(3))
		<-ctx.Done()
		return nil, ctx.Err()
	})
	noisy := fakeShim(t, func(ctx context.Context, _ execsync.Command, send func(*anypb.Any)) (*anypb.Any, error) {
		send(execsync.Exit(3))
		for ctx.Err() == nil {
			send(chunk(execsync.Stdout, "x"))
		}
		return nil, ctx.Err()
	})
	for name, test := range map[string]struct {
		shim  ShimExecs
		limit func(c *ShimCommand, cancel func())
	}{
		"no output":        {silent, func(c *ShimCommand, _ func()) { c.Idle = time.Millisecond }},
		"no output at all": {silent, func(c *ShimCommand, _ func()) { c.MaxDrain = time.Millisecond }},
		"endless output":   {noisy, func(c *ShimCommand, _ func()) { c.MaxDrain = time.Millisecond }},
		"canceled":         {noisy, func(c *ShimCommand, cancel func()) { c.Stdout = writer(cancel) }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, _, _ := command()
			test.limit(&c, cancel)
			if code, err := test.shim.Run(ctx, c); err != nil || code != 3 {
				t.Errorf("Run = %d, %v; want 3", code, err)
			}
		})
	}
}
