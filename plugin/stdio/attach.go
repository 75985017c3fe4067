// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/crilog"
)

// AttachOptions connect a client to the streams of a container. A nil stream is
// not connected.
type AttachOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// CloseStdin closes the shim's side of stdin, once ours is closed for good.
	CloseStdin func()
}

var errSlow = errors.New("the client does not read fast enough, it is detached")

// errStdinEnded ends an attach whose client has closed its stdin.
var errStdinEnded = errors.New("stdin has ended")

// Attach connects a client until the container's output ends, the client goes
// or ctx ends. A client that closes its stdin is detached, unless stdin is for
// one client only: then the container sees the end of it, and the client its
// output to the end.
func (s *Streams) Attach(ctx context.Context, opts AttachOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	connected := false
	for _, o := range s.outputs {
		w := opts.Stdout
		if o.name == crilog.Stderr {
			w = opts.Stderr
		}
		if w != nil {
			connected = true
			c := o.subscribe() // now: what the client causes must not be missed
			group.Go(func() error {
				defer o.unsubscribe(c)
				return c.copyTo(ctx, o.name, w)
			})
		}
	}
	if s.stdin != nil && opts.Stdin != nil {
		ended := s.feed(opts)
		if !connected {
			group.Go(func() error { return s.untilEnd(ctx) })
		}
		group.Go(func() error {
			select {
			case err := <-ended:
				return err
			case <-s.outputs[0].done:
				return nil
			case <-ctx.Done():
				return nil
			}
		})
	}
	err := group.Wait()
	if errors.Is(err, errStdinEnded) {
		return nil
	}
	return err
}

// feed copies the client's stdin to the container, in a goroutine that ends
// with the client's stream. The result is nil when the client's output is to go
// on.
func (s *Streams) feed(opts AttachOptions) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(s.stdin, opts.Stdin)
		switch {
		case err != nil && !errors.Is(err, os.ErrClosed):
			ended <- fmt.Errorf("stdin: %w", err)
		case s.opts.StdinOnce && !s.opts.Terminal:
			s.stdin.Close()
			if opts.CloseStdin != nil {
				opts.CloseStdin()
			}
			ended <- nil
		default:
			ended <- errStdinEnded
		}
	}()
	return ended
}

// untilEnd waits for the end of the container's output.
func (s *Streams) untilEnd(ctx context.Context) error {
	select {
	case <-s.outputs[0].done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *client) copyTo(ctx context.Context, name string, w io.Writer) error {
	for {
		select {
		case chunk, open := <-c.chunks:
			if !open {
				return c.err
			}
			if _, err := w.Write(chunk); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
