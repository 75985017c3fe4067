// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// logDrainTimeout bounds how long the exit of a process is delayed until its output ends. After the
// exit only a process outside of the container can keep the output open.
const logDrainTimeout = 2 * time.Second

// shimLog is the shim-written log of a container. It does not depend on a running containerd.
type shimLog struct {
	writer  *containerlog.Writer // nil when the output is discarded
	outputs [2]*containerlog.Output
}

// openShimLog opens the log that the configuration names; it returns nil if the log is
// daemon-written or there is none.
func openShimLog(cfg Config, owner Owner) (*shimLog, error) {
	if !containerlog.IsURI(cfg.Stdout) {
		return nil, nil
	}
	to, err := containerlog.ParseURI(cfg.Stdout)
	if err != nil {
		return nil, fmt.Errorf("stdio: %w", err)
	}
	var w *containerlog.Writer
	if to.Name != "" {
		w, err = containerlog.Open(to, func(err error) {
			log.L.WithError(err).WithField("container", owner.ID).Error("log not written; the container continues")
		})
		if err != nil {
			return nil, fmt.Errorf("stdio: %w", err)
		}
		w.Follow()
	}
	outputs := [2]*containerlog.Output{w.Output(containerlog.Stdout), w.Output(containerlog.Stderr)}
	return &shimLog{writer: w, outputs: outputs}, nil
}

func (l *shimLog) sinks() [2]io.WriteCloser {
	return [2]io.WriteCloser{l.outputs[0], l.outputs[1]}
}

// close closes the outputs and then the file; closing an output writes its last incomplete line.
func (l *shimLog) close() {
	for _, o := range l.outputs {
		_ = o.Close()
	}
	_ = l.writer.Close()
}

// Logged waits until the log has everything that the exited process wrote. It returns at once if
// the shim does not write the log.
func (s *Streams) Logged() {
	s.mu.Lock()
	written := s.log != nil
	s.mu.Unlock()
	if !written {
		return
	}
	waitFor(s.outputsDone(), logDrainTimeout)
}

// ReopenLog continues the log in a new file of the same name.
func (s *Streams) ReopenLog() error {
	l, err := s.shimLog()
	if err != nil {
		return err
	}
	return l.writer.Reopen()
}

// Follow passes an output (Stdout or Stderr of package containerlog) to write from now on until it
// ends; see [containerlog.Client.CopyTo]. The first call of write is with nil: all output after
// this call is passed on.
func (s *Streams) Follow(ctx context.Context, name string, write func([]byte) error) error {
	l, err := s.shimLog()
	if err != nil {
		return err
	}
	from := l.outputs[0]
	if name == containerlog.Stderr {
		from = l.outputs[1]
	}
	client := from.Attach()
	defer client.Detach()
	if err := write(nil); err != nil {
		return err
	}
	return client.CopyTo(ctx, write)
}

func (s *Streams) shimLog() (*shimLog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil, fmt.Errorf("stdio: the log is not written by this shim: %w", errdefs.ErrFailedPrecondition)
	}
	return s.log, nil
}
