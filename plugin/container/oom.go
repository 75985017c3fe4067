// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"syscall"

	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// killedCode is the exit code of a process that SIGKILL has ended.
const killedCode = 128 + uint32(syscall.SIGKILL)

// outOfMemory tells whether the kernel has killed a process of a container that has
// ended for want of memory. The cgroup knows, which is there as long as the task; but
// systemd takes a scope away when its last process has ended. Then the shim knows,
// and containerd has announced it, or is about to: before the exit.
func (m *Manager) outOfMemory(ctx context.Context, r *Record, task runtime.Task, end exit) bool {
	if oom, known := m.OOMKilled(r.Cgroup); known {
		return oom
	}
	if end.lost || end.code == 0 {
		return false // and no reason to ask
	}
	if r.life.oomKilled.Load() || m.askShim(ctx, r, task) {
		return true
	}
	if r.Runtime.OwnLog || end.code != killedCode || end.announced {
		return false // the lite shim remembers
	}
	r.life.waitAnnounced(ctx, m.patience)
	return r.life.oomKilled.Load()
}

func (m *Manager) askShim(ctx context.Context, r *Record, task runtime.Task) bool {
	if task == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	oom, err := runtime.OOMKilled(ctx, task)
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Debug("the shim does not tell whether memory ran out")
	}
	return oom
}
