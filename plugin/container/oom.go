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

// wasOOMKilled reports whether the kernel has OOM-killed a process of an exited container. The
// cgroup counts such kills and exists as long as the task, but systemd removes a scope when its
// last process has exited. In that case the count of a lite shim decides, or containerd's OOM
// event, which comes before the exit event (decision 0015).
func (w *watcher) wasOOMKilled(ctx context.Context, r *Record, task runtime.Task, end taskExit) bool {
	if oom, known := w.oomKilled(r.Cgroup); known {
		return oom
	}
	if end.lost || end.code == 0 {
		return false // not reported as OOMKilled in any case
	}
	if r.life.oomKilled.Load() || w.shimReportsOOM(ctx, r, task) {
		return true
	}
	// The lite shim remembers a kill, and no OOM event follows the exit event. Any other shim may
	// have sent an OOM event that has not arrived yet.
	if r.Runtime.ShimWritesLog || end.code != killedCode || end.fromEvent {
		return false
	}
	r.life.waitExitEvent(ctx, w.exitEventTimeout)
	return r.life.oomKilled.Load()
}

func (w *watcher) shimReportsOOM(ctx context.Context, r *Record, task runtime.Task) bool {
	if task == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, oomQueryTimeout)
	defer cancel()
	oom, err := runtime.OOMKilled(ctx, task)
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Debug("no statistics from the shim; out-of-memory kill unknown")
	}
	return oom
}
