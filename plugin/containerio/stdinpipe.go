// SPDX-License-Identifier: Apache-2.0

package containerio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// stdinPipe is the named pipe that clients write to and the shim reads. The zero value means no
// stdin.
type stdinPipe struct {
	path string
	file *os.File
	once bool // closed after the first client
}

func openStdinPipe(opts Options, create bool) (p stdinPipe, err error) {
	if !opts.Stdin {
		return p, nil
	}
	p.path = opts.pipe("stdin")
	p.once = opts.StdinOnce && !opts.Terminal
	// Read-write, so that opening it does not wait for the shim, and the pipe stays open for a shim
	// that opens it later.
	if p.file, err = openPipe(p.path, os.O_RDWR, create); err != nil {
		return p, fmt.Errorf("stdin: %w", err)
	}
	return p, nil
}

func (p *stdinPipe) close() {
	if p.file != nil {
		p.file.Close() // a second Close is harmless
	}
}

// connect copies a client's stdin to the container until the client's stdin ends, the container's
// output ends (ended is closed) or ctx ends. It returns errStdinEnded if the end of the client's
// stdin detaches the client, and nil if the client stays attached to the output.
func (p *stdinPipe) connect(ctx context.Context, opts AttachOptions, ended <-chan struct{}) error {
	select {
	case err := <-guard.Start(ctx, "feed stdin", func() error { return p.feed(opts) }):
		return err
	case <-ended:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// feed copies the client's stdin to its end.
func (p *stdinPipe) feed(opts AttachOptions) error {
	_, err := io.Copy(p.file, opts.Stdin)
	switch {
	case err != nil && !errors.Is(err, os.ErrClosed):
		return fmt.Errorf("stdin: %w", err)
	case p.once:
		p.close()
		if opts.CloseStdin != nil {
			opts.CloseStdin()
		}
		return nil
	}
	return errStdinEnded
}
