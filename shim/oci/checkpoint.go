// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"

	"github.com/containerd/containerd/api/types/runc/options"
	runc "github.com/containerd/go-runc"
)

// Checkpoint writes the state of a container to the directory images with CRIU, which keeps its log
// in work.
func (r *Runtime) Checkpoint(ctx context.Context, id, images, work string, o *options.CheckpointOptions) error {
	opts := &runc.CheckpointOpts{
		ImagePath:                images,
		WorkDir:                  work,
		ParentPath:               o.GetParentPath(),
		AllowOpenTCP:             o.GetOpenTcp(),
		AllowExternalUnixSockets: o.GetExternalUnixSockets(),
		AllowTerminal:            o.GetTerminal(),
		FileLocks:                o.GetFileLocks(),
		Cgroups:                  runc.CgroupMode(o.GetCgroupsMode()),
		EmptyNamespaces:          o.GetEmptyNamespaces(),
	}
	var actions []runc.CheckpointAction
	if !o.GetExit() {
		actions = append(actions, runc.LeaveRunning)
	}
	return r.call(ctx, "checkpoint", func(cli *runc.Runc) error {
		return cli.Checkpoint(ctx, id, opts, actions...)
	})
}

// Images are the directories of a checkpoint to restore.
type Images struct {
	Path, Parent, Work string
}

// Restore creates and starts a container from a checkpoint.
func (r *Runtime) Restore(ctx context.Context, id, bundle string, images Images, p *Process) error {
	return r.call(ctx, "restore", func(cli *runc.Runc) error {
		_, err := cli.Restore(ctx, id, bundle, &runc.RestoreOpts{
			CheckpointOpts: runc.CheckpointOpts{
				ImagePath:  images.Path,
				ParentPath: images.Parent,
				WorkDir:    images.Work,
			},
			IO:            p.IO,
			PidFile:       p.PidFile,
			ConsoleSocket: p.socket(),
			NoPivot:       r.opts.GetNoPivotRoot(),
			Detach:        true,
			NoSubreaper:   true,
		})
		return err
	})
}
