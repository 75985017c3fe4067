// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// ShimLogs are the shim-written logs of all containers.
type ShimLogs interface {
	Reopen(ctx context.Context, id string) error
	// Follow returns the output that a container writes from now on. The reader ends with the
	// output or with ctx, and must be closed.
	Follow(ctx context.Context, id, output string) (io.ReadCloser, error)
}

// shimWritten holds the streams of a container with a shim-written log. Only stdin passes through
// the daemon.
type shimWritten struct {
	opts  Options
	stdin stdinPipe
}

func openShimWritten(opts Options, create bool) (*shimWritten, error) {
	if create && opts.Log.Name != "" {
		// The shim opens the log when the container starts. Opening it here rejects a bad path when
		// the container is created.
		log, err := containerlog.Open(opts.Log, nil)
		if err != nil {
			return nil, err
		}
		log.Close()
	}
	stdin, err := openStdinPipe(opts, create)
	if err != nil {
		return nil, err
	}
	return &shimWritten{opts: opts, stdin: stdin}, nil
}

func (s *shimWritten) Creator() cio.Creator {
	uri := s.opts.Log.URI()
	config := cio.Config{Terminal: s.opts.Terminal, Stdin: s.stdin.path, Stdout: uri}
	if !s.opts.Terminal {
		config.Stderr = uri
	}
	return creator(config)
}

// Connect does nothing: the shim reads the output.
func (s *shimWritten) Connect() {}

// Drain does nothing: the shim reports an exit only when the log is complete.
func (s *shimWritten) Drain(context.Context) error { return nil }

func (s *shimWritten) ReopenLog(ctx context.Context) error {
	return s.opts.ShimLogs.Reopen(ctx, s.opts.ID)
}

func (s *shimWritten) Attach(ctx context.Context, opts AttachOptions) error {
	// The end of the output is the sign that the container has exited, so follow at least one
	// output.
	if opts.Stdout == nil && opts.Stderr == nil {
		opts.Stdout = io.Discard
	}
	group, ctx := errgroup.WithContext(ctx)
	followers, err := s.follow(ctx, opts)
	defer func() {
		for _, f := range followers {
			f.from.Close()
		}
	}()
	if err != nil {
		return err
	}
	var open sync.WaitGroup
	for _, f := range followers {
		open.Add(1)
		group.Go(guard.Func(ctx, "attach "+f.output, func() error {
			defer open.Done()
			return f.run()
		}))
	}
	if s.stdin.file != nil && opts.Stdin != nil {
		ended := make(chan struct{})
		guard.Go(ctx, nil, "attach", func() {
			open.Wait()
			close(ended)
		})
		group.Go(guard.Func(ctx, "attach stdin", func() error { return s.stdin.connect(ctx, opts, ended) }))
	}
	return attachResult(group.Wait())
}

// follower copies one output of a container to a client.
type follower struct {
	output string
	from   io.ReadCloser
	to     io.Writer
}

func (f follower) run() error {
	if _, err := io.Copy(f.to, f.from); err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	return nil
}

// follow starts to follow the outputs that the client wants. Output that the client causes
// afterwards is not missed. The caller must close the followers, even after an error.
func (s *shimWritten) follow(ctx context.Context, opts AttachOptions) ([]follower, error) {
	var all []follower
	for _, name := range s.outputs() {
		w := opts.writer(name)
		if w == nil {
			continue
		}
		r, err := s.opts.ShimLogs.Follow(ctx, s.opts.ID, name)
		if err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, follower{output: name, from: r, to: w})
	}
	return all, nil
}

func (s *shimWritten) outputs() []string {
	if s.opts.Terminal {
		return []string{stdout}
	}
	return []string{stdout, stderr}
}

func (s *shimWritten) Close() error {
	s.Release()
	return os.RemoveAll(s.opts.Dir)
}

func (s *shimWritten) Release() { s.stdin.close() }
