// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	stdout = containerlog.Stdout
	stderr = containerlog.Stderr
)

// daemonWritten holds the streams of a container with a daemon-written log: its shim writes to
// named pipes. The zero value has no streams and is closed.
type daemonWritten struct {
	opts    Options
	log     *containerlog.Writer // nil when the output is discarded
	outputs []*outputPipe        // stdout, and stderr without a terminal
	stdin   stdinPipe
	once    sync.Once
}

func openDaemonWritten(opts Options, create bool) (_ *daemonWritten, err error) {
	s := &daemonWritten{opts: opts}
	defer func() {
		if err != nil {
			s.Release()
		}
	}()
	if opts.Log.Name != "" {
		if s.log, err = containerlog.Open(opts.Log, s.reportLogError); err != nil {
			return nil, err
		}
	}
	outputs := []string{stdout, stderr}
	if opts.Terminal {
		outputs = outputs[:1]
	}
	for _, name := range outputs {
		o, err := openOutputPipe(opts.pipe(name), name, s.log.Output(name), create)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.outputs = append(s.outputs, o)
	}
	s.stdin, err = openStdinPipe(opts, create)
	return s, err
}

func (s *daemonWritten) reportLogError(err error) {
	log.L.WithError(err).WithField("container", s.opts.ID).Error("log not written; the container continues")
}

func (s *daemonWritten) Creator() cio.Creator {
	config := cio.Config{Terminal: s.opts.Terminal, Stdin: s.stdin.path}
	for _, o := range s.outputs {
		if o.name == stderr {
			config.Stderr = o.path
		} else {
			config.Stdout = o.path
		}
	}
	return creator(config)
}

func (s *daemonWritten) Connect() {
	for _, o := range s.outputs {
		o.start()
	}
}

func (s *daemonWritten) Drain(ctx context.Context) error {
	for _, o := range s.outputs {
		select {
		case <-o.done:
		case <-ctx.Done():
			return fmt.Errorf("read %s to its end: %w", o.name, ctx.Err())
		}
	}
	return nil
}

func (s *daemonWritten) ReopenLog(context.Context) error {
	return s.log.Reopen()
}

func (s *daemonWritten) Attach(ctx context.Context, opts AttachOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	connected := false
	for _, o := range s.outputs {
		w := opts.writer(o.name)
		if w == nil {
			continue
		}
		connected = true
		// Before stdin is connected, so that the client gets all output that it causes.
		c := o.Attach()
		group.Go(guard.Func(ctx, "attach "+o.name, func() error {
			defer c.Detach()
			return c.CopyTo(ctx, func(chunk []byte) error {
				if _, err := w.Write(chunk); err != nil {
					return fmt.Errorf("%s: %w", o.name, err)
				}
				return nil
			})
		}))
	}
	if s.stdin.file != nil && opts.Stdin != nil {
		ended := s.outputs[0].done
		group.Go(guard.Func(ctx, "attach stdin", func() error { return s.stdin.connect(ctx, opts, ended) }))
		if !connected {
			group.Go(guard.Func(ctx, "attach", func() error { return s.waitOutputEnd(ctx) }))
		}
	}
	return attachResult(group.Wait())
}

// waitOutputEnd waits for the end of the container's output.
func (s *daemonWritten) waitOutputEnd(ctx context.Context) error {
	select {
	case <-s.outputs[0].done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *daemonWritten) Close() error {
	s.Release()
	return os.RemoveAll(s.opts.Dir) // does nothing for ""
}

func (s *daemonWritten) Release() {
	s.once.Do(func() {
		for _, o := range s.outputs {
			o.stop()
		}
		s.stdin.close()
		if err := s.log.Close(); err != nil {
			s.reportLogError(err)
		}
	})
}
