// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// AttachOptions connects a client to a running container. A nil stream is not connected.
type AttachOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan Size
}

// Attach connects a client to the streams of a running container. It returns when the container
// exits, the client disconnects or ctx ends. The client gets only new output; earlier output is in
// the container's log. If the container was created without stdin, the client's stdin is ignored.
func (m *Manager) Attach(ctx context.Context, id string, opts AttachOptions) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	task, err := r.runningTask()
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	resized, stopResizing := context.WithCancel(ctx)
	defer stopResizing()
	guard.Go(resized, nil, "resize terminal", func() { resize(resized, task, opts.Resize) })
	err = r.life.streams.Attach(ctx, containerio.AttachOptions{
		Stdin:  opts.Stdin,
		Stdout: opts.Stdout,
		Stderr: opts.Stderr,
		CloseStdin: func() {
			// This fails if the container has exited.
			_ = runtime.CloseStdin(context.WithoutCancel(ctx), task)
		},
	})
	if err != nil {
		return fmt.Errorf("%s: attach: %w", r, err)
	}
	return nil
}
