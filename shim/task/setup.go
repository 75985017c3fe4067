// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/fastexec"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/option"
	"github.com/containerd-lite/containerd-lite/shim/outbox"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// Host holds the services that all containers of one shim share.
type Host struct {
	Namespace string
	Children  *reap.Reaper
	Events    *outbox.Outbox
	// Kills reports out-of-memory kills. Its zero value is ready to use.
	Kills cgroup.Notifier
	// Creating, if not nil, is called with the bundle of a task before its creation.
	Creating func(bundle.Dir)
	// Created, if not nil, gets a value for each new task, unless one is pending.
	Created chan<- struct{}
	// Deleted, if not nil, is called after the deletion of a task. bundles returns the bundles of
	// the remaining tasks.
	Deleted func(bundles func() []bundle.Dir)
}

// setup holds the settings of a container, which its processes share. They do not change after
// newSetup.
type setup struct {
	id      string
	bundle  bundle.Dir
	host    *Host
	opts    *options.Options
	runtime *oci.Runtime
	images  oci.Images // the CRIU images to restore from, if Path is set
	mounted bool       // the root filesystem is mounted in the bundle
	// ownPids is true if the container has a PID namespace of its own. Without one, processes can
	// outlive the init.
	ownPids bool
	pod     string  // the pod, or another group of tasks (bundle.Spec.Group)
	holder  *holder // nil if the container has a process
	// noPoststart is true if the spec has no poststart hooks, which some versions of runc run in
	// `runc start`. The shim can then start the init without the runtime.
	noPoststart bool
	fastExec    *fastexec.Container               // nil if only the runtime can start execs
	cgroups     func() (map[string]string, error) // oci.Runtime.Cgroups, if fastExec is set
}

// newSetup decodes a request.
func newSetup(host *Host, r *taskapi.CreateTaskRequest) (*setup, error) {
	opts, err := option.Parse(r.Options)
	if err != nil {
		return nil, err
	}
	s := &setup{
		id:      r.ID,
		bundle:  bundle.Dir(r.Bundle),
		host:    host,
		opts:    opts.Options,
		mounted: len(r.Rootfs) > 0,
		pod:     r.ID,
	}
	if r.Checkpoint != "" {
		s.images = oci.Images{Path: r.Checkpoint, Parent: r.ParentCheckpoint, Work: opts.GetCriuWorkPath()}
		if s.images.Work == "" {
			s.images.Work = s.bundle.Work()
		}
	}
	// Without a readable config.json the PID namespace is unknown. ownPids then stays false, and
	// processes that might outlive the init are killed with it.
	if spec, err := s.bundle.Spec(); err == nil {
		opts.ChooseDriver(spec.Linux.CgroupsPath, cgroup.SystemdRuns())
		s.ownPids, s.pod = spec.PrivatePids(), spec.Group(s.id)
		s.noPoststart = !spec.Poststart()
		if opts.FastExec {
			s.allowFastExec(spec.Config())
		}
		if opts.GetIoUid() == 0 && opts.GetIoGid() == 0 {
			// Docker sets IoUid and IoGid only for containerd-shim-runc-v2. The container's root
			// must own the pipes to be able to open /dev/stdout by name.
			opts.IoUid, opts.IoGid = spec.Root()
		}
		if s.holder, err = newHolder(spec); err != nil {
			return nil, fmt.Errorf("container %s: %w", s.id, err)
		}
	}
	s.runtime = oci.New(opts.Options, host.Namespace, filepath.Join(r.Bundle, bundle.RuntimeLog), host.Children.Hold)
	return s, nil
}

// keepsCgroup reports whether the cgroup exists until the task is deleted. systemd removes a scope
// when its last process has exited; the cgroup of a holder is never a scope.
func (s *setup) keepsCgroup() bool { return s.holder != nil || !s.opts.GetSystemdCgroup() }

func (s *setup) log() *log.Entry { return log.L.WithField("container", s.id) }

// context returns a context for work that no call waits for. Its logger has the container's id.
func (s *setup) context() context.Context { return log.WithLogger(context.Background(), s.log()) }
