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

// defaultRoot is where containerd-shim-runc-v2 keeps the runtime's state too,
// so that `runc --root /run/containerd/runc/<namespace> list` finds it.
const defaultRoot = "/run/containerd/runc"

// Runtime is an OCI runtime with the options of one task.
type Runtime struct {
	cli  runc.Runc
	opts *options.Options
	log  string
	hold func() func()
}

// New returns the runtime that the options name. What its commands log is kept in the file log, ""
// for none. hold is called around each command, see reap.Reaper.Hold.
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

// Stdio is what a command gets as its standard streams, and the container
// from it.
type Stdio = runc.IO

// Process is how a process is created.
type Process struct {
	// PidFile is where its number is written.
	PidFile string
	// IO is nil for a process with a terminal.
	IO Stdio
	// Console receives the terminal, if any.
	Console *Console
}

// socket returns the option of go-runc: nil without a console, never an
// interface with a nil inside.
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

// Start lets the init of a created container run.
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

// Delete removes a container that has stopped; force ends it first. If the
// runtime has lost it, it is deleted already.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	err := r.call(ctx, "delete", func(cli *runc.Runc) error {
		return cli.Delete(ctx, id, &runc.DeleteOpts{Force: force})
	})
	if err != nil && !r.knows(id) {
		return nil
	}
	return err
}

// knows tells whether the runtime has state of a container. It is asked
// instead of the text of an error, which every runtime words differently.
func (r *Runtime) knows(id string) bool {
	_, err := os.Lstat(filepath.Join(r.cli.Root, id))
	return !errors.Is(err, fs.ErrNotExist)
}

// Features returns what the runtime says about itself (OCI runtime
// specification, features.md). Older runtimes cannot.
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
	keep(r.log, logged)
	if err != nil {
		return r.explain(ctx, command, err, lastError(logged))
	}
	return nil
}

// explain makes an error of what the runtime said. "OCI runtime … failed:" is
// what users and tools look for in the errors of every containerd shim.
func (r *Runtime) explain(ctx context.Context, command string, err error, said string) error {
	if missing := r.Available(); missing != nil {
		return missing
	}
	if ctx.Err() != nil {
		return fmt.Errorf("OCI runtime %s interrupted: %w", command, context.Cause(ctx))
	}
	if said != "" {
		return fmt.Errorf("OCI runtime %s failed: %s", command, said)
	}
	return fmt.Errorf("OCI runtime %s failed: %w", command, err)
}
