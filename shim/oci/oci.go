// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"
)

// defaultRoot is the state directory of the runtime, the same as with containerd-shim-runc-v2, so
// that `runc --root /run/containerd/runc/<namespace> list` works.
const defaultRoot = "/run/containerd/runc"

// Runtime is an OCI runtime with the options of one task.
type Runtime struct {
	cli  runc.Runc
	opts *options.Options
	log  string
	hold func() func()
}

// New returns the runtime that the options name. Its commands append their logs to the file log, or
// keep none if log is "". hold is called before each command and release after it, see
// reap.Reaper.Hold.
func New(opts *options.Options, namespace, log string, hold func() (release func())) *Runtime {
	root := opts.GetRoot()
	if root == "" {
		root = defaultRoot
	}
	return &Runtime{
		cli: runc.Runc{
			Command:       opts.GetBinaryName(),
			LogFormat:     runc.JSON,
			PdeathSignal:  unix.SIGKILL,
			Root:          filepath.Join(root, namespace),
			SystemdCgroup: opts.GetSystemdCgroup(),
		},
		opts: opts,
		log:  log,
		hold: hold,
	}
}

// Stdio are the standard streams of a command, which the container's process inherits.
type Stdio = runc.IO

// Process says how to create a process.
type Process struct {
	// PidFile is the file to which the runtime writes the PID.
	PidFile string
	// IO is nil for a process with a terminal.
	IO Stdio
	// Console receives the terminal; nil without one.
	Console *Console
}

// socket returns the console option of go-runc: nil without a console, never an interface that
// holds a nil pointer.
func (p *Process) socket() runc.ConsoleSocket {
	if p.Console == nil {
		return nil
	}
	return p.Console.socket
}

// Create creates a container whose init waits for Start.
func (r *Runtime) Create(ctx context.Context, id, bundle string, p *Process) error {
	return r.call(ctx, "create", func(cli *runc.Runc) error {
		return cli.Create(ctx, id, bundle, &runc.CreateOpts{
			IO:            p.IO,
			PidFile:       p.PidFile,
			ConsoleSocket: p.socket(),
			NoPivot:       r.opts.GetNoPivotRoot(),
			NoNewKeyring:  r.opts.GetNoNewKeyring(),
		})
	})
}

// Start starts the init of a created container.
func (r *Runtime) Start(ctx context.Context, id string) error {
	return r.call(ctx, "start", func(cli *runc.Runc) error { return cli.Start(ctx, id) })
}

// Pause freezes a container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	return r.call(ctx, "pause", func(cli *runc.Runc) error { return cli.Pause(ctx, id) })
}

// Resume thaws a container.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	return r.call(ctx, "resume", func(cli *runc.Runc) error { return cli.Resume(ctx, id) })
}

// Update changes the limits of a container.
func (r *Runtime) Update(ctx context.Context, id string, resources *specs.LinuxResources) error {
	return r.call(ctx, "update", func(cli *runc.Runc) error { return cli.Update(ctx, id, resources) })
}

// Delete deletes a stopped container; with force it kills the container first. It returns nil if
// the runtime has no state of the container.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	err := r.call(ctx, "delete", func(cli *runc.Runc) error {
		return cli.Delete(ctx, id, &runc.DeleteOpts{Force: force})
	})
	if err != nil && !r.knows(id) {
		return nil
	}
	return err
}

// knows reports whether the runtime has state of a container. Checking the state directory avoids
// parsing error texts, which differ between runtimes.
func (r *Runtime) knows(id string) bool {
	_, err := os.Lstat(filepath.Join(r.cli.Root, id))
	return !errors.Is(err, fs.ErrNotExist)
}

// Features returns the features of the runtime (OCI runtime specification, features.md). Older
// runtimes do not have the command.
func (r *Runtime) Features(ctx context.Context) (*features.Features, error) {
	cli := r.cli
	f, err := cli.Features(ctx)
	if err != nil {
		return nil, r.explain(ctx, "features", err, "")
	}
	return f, nil
}

// Available checks that the runtime is installed.
func (r *Runtime) Available() error {
	name := r.cli.Command
	if name == "" {
		name = runc.DefaultCommand
	}
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("OCI runtime %q is not installed: install it on the PATH of containerd, or set BinaryName in the runtime options: %w: %w",
			name, errdefs.ErrFailedPrecondition, err)
	}
	return nil
}

func (r *Runtime) call(ctx context.Context, command string, run func(*runc.Runc) error) error {
	defer r.hold()()
	log, err := newLog()
	if err != nil {
		return err
	}
	defer log.Close()
	cli := r.cli
	cli.Log = log.path()
	err = run(&cli)
	logged := log.tail()
	appendLog(r.log, logged)
	if err != nil {
		return r.explain(ctx, command, err, lastError(logged))
	}
	return nil
}

// explain converts a failed command into an error. Users and tools look for "OCI runtime … failed:"
// in the errors of every containerd shim.
func (r *Runtime) explain(ctx context.Context, command string, err error, logged string) error {
	if missing := r.Available(); missing != nil {
		return missing
	}
	if ctx.Err() != nil {
		return fmt.Errorf("OCI runtime %s interrupted: %w", command, context.Cause(ctx))
	}
	if logged != "" {
		return fmt.Errorf("OCI runtime %s failed: %s", command, logged)
	}
	return fmt.Errorf("OCI runtime %s failed: %w", command, err)
}
