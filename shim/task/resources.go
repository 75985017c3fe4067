// SPDX-License-Identifier: Apache-2.0

package task

import (
	"sync"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// resources holds the cgroup of a container, and the statistics and out-of-memory kills that were
// read from it.
type resources struct {
	setup *setup

	mu sync.Mutex
	// Guarded by mu.
	cgroup *cgroup.Group // nil if unknown, and for a holder
	oom    *cgroup.OOMWatch
	stats  *anypb.Any // the last statistics that were read
	kills  uint64     // out-of-memory kills, read when the init has exited
}

// group returns the cgroup of the container, nil if it is unknown.
func (r *resources) group() *cgroup.Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cgroup
}

// findCgroup reads the cgroup of the init before the init runs and can move to another one. A
// container without a cgroup of its own runs without statistics and without out-of-memory events.
func (r *resources) findCgroup(init child) {
	group, err := cgroup.Of(init.Pid())
	if err != nil {
		level := log.WarnLevel
		if errdefs.IsNotFound(err) {
			level = log.DebugLevel
		}
		r.setup.log().WithError(err).Log(level, "cgroup of the init unknown; no statistics and no out-of-memory events")
		return
	}
	if err := r.setup.bundle.WriteCgroup(group); err != nil {
		r.setup.log().WithError(err).Warn("cgroup not recorded in the bundle; the delete command cannot kill it")
	}
	if err := group.EnableControllers(); err != nil {
		r.setup.log().WithError(err).Debug("cgroup controllers not enabled; statistics may be incomplete")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cgroup = group
}

// watchOOM starts to watch for out-of-memory kills.
func (r *resources) watchOOM() {
	group := r.group()
	if group == nil {
		return
	}
	watch, err := group.WatchOOM(r.setup.context(), &r.setup.host.Kills, func() {
		r.setup.host.Events.Put(&events.TaskOOM{ContainerID: r.setup.id})
	})
	if err != nil {
		r.setup.log().WithError(err).Debug("out-of-memory watch not started; no out-of-memory events")
		return
	}
	if err := watch.NotifyErr(); err != nil {
		r.setup.log().WithError(err).Warn("no notifications of out-of-memory kills; they are reported when the container exits")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.oom = watch
}

func (r *resources) oomWatch() *cgroup.OOMWatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oom
}

// reportOOMKills publishes an out-of-memory kill that the kernel has counted but not yet notified.
func (r *resources) reportOOMKills() {
	if watch := r.oomWatch(); watch != nil {
		watch.Check()
	}
}

// checkOOM checks for an out-of-memory kill as early as possible after the exit of the init:
// systemd removes a scope, and with it the counter, when its last process has exited.
func (r *resources) checkOOM(killed bool) {
	if watch := r.oomWatch(); watch != nil {
		watch.CheckEnd(killed)
	}
}

// readStats reads and keeps the statistics. It keeps the previous ones if the cgroup cannot be
// read.
func (r *resources) readStats() {
	group := r.group()
	if r.setup.holder != nil {
		group = r.setup.holder.cgroup
	}
	if group == nil {
		return
	}
	stats, err := group.Stats()
	if err != nil {
		r.setup.log().WithError(err).Debug("statistics not read; keeping the previous ones")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats = stats
}

// readFinal reads the out-of-memory kills, and the statistics if the cgroup may be removed before
// the task is deleted: they are in some thirty files on v1, and few clients ask for those of a task
// that has exited.
func (r *resources) readFinal() {
	if !r.setup.keepsCgroup() {
		r.readStats()
	}
	r.mu.Lock()
	watch := r.oom
	r.oom = nil
	r.mu.Unlock()
	if watch == nil {
		return
	}
	watch.Close()
	watch.Check()
	kills := watch.Kills()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kills = kills
}

// lastStats returns the statistics that were read last, nil if there are none.
func (r *resources) lastStats() *anypb.Any {
	r.mu.Lock()
	stats, kills, group := r.stats, r.kills, r.cgroup
	r.mu.Unlock()
	if group == nil {
		return stats
	}
	return group.CountKills(stats, kills)
}

// thawed reports whether the freezer of the cgroup can be read and is off.
func (r *resources) thawed() bool {
	group := r.group()
	if group == nil {
		return false
	}
	paused, err := group.Paused()
	return err == nil && !paused
}
