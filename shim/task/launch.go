// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// openAndLaunch opens the streams of a process and launches it. It closes the streams after an
// error.
func (p *process) openAndLaunch(ctx context.Context, owner stdio.Owner, pidFile string, run func(*oci.Process) error) (child *reap.Child, err error) {
	const what = "start of a process"
	err = guard.Call(p.setup.context(), what, func() (err error) {
		if err := p.streams.Open(ctx, owner, p.setup.host.Children); err != nil {
			return err
		}
		child, err = p.launch(pidFile, run)
		return err
	})
	if err != nil {
		guard.Catch(p.setup.context(), what, func() { _ = p.streams.Close() }, nil)()
		return nil, err
	}
	return child, nil
}

// launch runs a runtime command that creates a process, watches the process and connects its
// streams.
func (p *process) launch(pidFile string, run func(*oci.Process) error) (*reap.Child, error) {
	// Until the process is watched, the reaper would take its zombie for an orphan.
	defer p.setup.host.Children.Hold()()
	target := &oci.Process{PidFile: pidFile}
	if p.streams.Config().Terminal {
		console, err := oci.NewConsole(string(p.setup.bundle))
		if err != nil {
			return nil, err
		}
		defer console.Close()
		target.Console = console
	} else {
		target.IO = p.streams
	}
	_ = os.Remove(pidFile)
	if err := run(target); err != nil {
		// A canceled command may have created the process already.
		if pid, perr := bundle.ReadPid(pidFile); perr == nil {
			p.setup.host.Children.KillOrphan(pid)
		}
		return nil, err
	}
	pid, err := bundle.ReadPid(pidFile)
	if err != nil {
		return nil, fmt.Errorf("OCI runtime wrote no PID file: %w", err)
	}
	child, err := p.setup.host.Children.Watch(p.setup.context(), pid)
	if err != nil {
		p.setup.host.Children.KillOrphan(pid)
		return nil, err
	}
	connected := false
	defer func() {
		if !connected {
			_ = child.Signal(unix.SIGKILL)
		}
	}()
	if err := connect(p.streams, target.Console); err != nil {
		return nil, err
	}
	connected = true
	return child, nil
}

func connect(streams *stdio.Streams, console *oci.Console) error {
	if console == nil {
		return streams.Run(nil)
	}
	master, err := console.Receive()
	if err != nil {
		return err
	}
	return streams.Run(master)
}

// setChild sets the child. It kills the child if the streams have failed meanwhile.
func (p *process) setChild(child *reap.Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child = child
	if p.broken {
		_ = child.KillGroup()
	}
}

// streamOwner returns the owner of the streams. kill is called when they have failed.
func (p *process) streamOwner(kill func() error) stdio.Owner {
	return stdio.Owner{
		ID:        p.id(),
		Namespace: p.setup.host.Namespace,
		UID:       int(p.setup.opts.GetIoUid()),
		GID:       int(p.setup.opts.GetIoGid()),
		Broken:    func() { p.killBroken(kill) },
	}
}

// killBroken kills a process whose streams have failed. For the init this kills the container.
func (p *process) killBroken(kill func() error) {
	log := p.setup.log()
	log.WithField("exec", p.execID).Error("streams failed; killing the process")
	if !p.markBroken() {
		return // setChild kills the process when it has started
	}
	if err := kill(); err != nil && !errdefs.IsNotFound(err) {
		log.WithError(err).Error("process with failed streams not killed")
	}
}

// markBroken marks the streams as failed and reports whether there is a process to kill.
func (p *process) markBroken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	return p.child != nil
}
