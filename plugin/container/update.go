// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// UpdateResources changes the limits of a container: those in its spec and, if it is running, those
// of its cgroup. A field that is zero is not changed. If the cgroup refuses the new limits, the old
// ones are restored. A memory limit below the memory in use is refused, because the kernel would
// kill the container.
//
// life.updating serializes the updates of one container. Readers do not take it.
func (m *Manager) UpdateResources(ctx context.Context, id string, want *runtimeapi.LinuxContainerResources) error {
	r, err := m.containers.Get(id)
	if err != nil {
		return err
	}
	if want == nil {
		return fmt.Errorf("%s: update: linux resources are missing: %w", r, errdefs.ErrInvalidArgument)
	}
	// Plugins get the requests in the order in which they are applied. An update that a plugin
	// requests for this container does not wait for this lock.
	r.life.requests.Lock()
	defer r.life.requests.Unlock()
	if err := m.checkUpdate(ctx, r, want); err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	adjusted, err := m.plugins.update(ctx, r, want)
	if err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	err = m.limits.change(ctx, r, func(current *specs.Spec) (*specs.Spec, error) {
		updated, err := m.Specs.Update(current, want)
		if err != nil || adjusted == nil {
			return updated, err
		}
		return m.Specs.UpdateNRI(updated, adjusted)
	})
	if err != nil {
		return err
	}
	m.plugins.postUpdate(ctx, r)
	return nil
}

// checkUpdate refuses limits that no container can have, before plugins are asked about them. It
// costs a read of the spec.
func (m *Manager) checkUpdate(ctx context.Context, r *Record, want *runtimeapi.LinuxContainerResources) error {
	if !m.Plugins.Connected() {
		return nil
	}
	current, _, err := m.Containerd.Spec(ctx, r.ID)
	if err == nil {
		_, err = m.Specs.Update(current, want)
	}
	return err
}

// limits changes the limits of containers: those in their specs and those of their cgroups.
type limits struct {
	containerd Containerd
	containers *containerStore
	watcher    *watcher
}

// change replaces the spec of a container and applies its limits.
func (l limits) change(ctx context.Context, r *Record, to func(current *specs.Spec) (*specs.Spec, error)) error {
	r.life.updating.Lock()
	defer r.life.updating.Unlock()
	r, err := l.containers.Get(r.ID)
	if err != nil {
		return err
	}
	if err := l.changeLocked(ctx, r, to); err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	return nil
}

func (l limits) changeLocked(ctx context.Context, r *Record, to func(current *specs.Spec) (*specs.Spec, error)) error {
	current, _, err := l.containerd.Spec(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	updated, err := to(current)
	if err != nil {
		return err
	}
	if err := l.containerd.SaveSpec(ctx, r.ID, updated); err != nil {
		return fmt.Errorf("save spec: %w", err)
	}
	if err := l.apply(ctx, r, current.Linux.Resources, updated.Linux.Resources); err != nil {
		if restore := l.containerd.SaveSpec(context.WithoutCancel(ctx), r.ID, current); restore != nil {
			log.G(ctx).WithError(restore).WithField("container", r.ID).Error("spec not restored after a refused update; it contains the refused limits; update the container again")
		}
		return err
	}
	l.containers.settle(ctx, r.ID, func(r *Record) { r.Resources = spec.Effective(updated).GetLinux() })
	return nil
}

// apply changes the limits of the cgroup, if the container is running.
func (l limits) apply(ctx context.Context, r *Record, current, updated *specs.LinuxResources) error {
	// A start in progress may have read the spec before it changed.
	if err := r.life.waitStarted(ctx); err != nil {
		return err
	}
	r, err := l.containers.Get(r.ID)
	if err != nil {
		return err
	}
	task := r.task()
	if task == nil {
		return nil
	}
	err = runtime.SetResources(ctx, task, withUsageCheck(current, updated))
	if err != nil && l.watcher.hasEnded(ctx, r, task) {
		return nil
	}
	if err != nil {
		restoreLimits(ctx, r, task, current, updated)
	}
	return err
}

// restoreLimits sets the limits that held before a refused update. The OCI runtime sets the limits
// in order, so those before the refused one are in effect. runc tries to restore them but has lost
// the old values by then (its update.go changes the configuration that Container.Set falls back
// to), and crun does not try.
func restoreLimits(ctx context.Context, r *Record, task runtime.Task, current, refused *specs.LinuxResources) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	limits, err := spec.Restore(current, refused)
	if err == nil {
		err = runtime.SetResources(ctx, task, limits)
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("limits not restored after a refused update; some of the refused limits may be in effect; update the container again")
	}
}

// withUsageCheck makes the lite shim, or the OCI runtime of another shim, check the memory in use
// before it lowers a limit of cgroup v2; on v1 the kernel checks. A limit that is not lowered needs
// no check: the memory in use, with the page cache, may well have reached it.
func withUsageCheck(current, updated *specs.LinuxResources) *specs.LinuxResources {
	limit := memoryLimit(updated)
	if old := memoryLimit(current); limit <= 0 || old > 0 && limit >= old {
		return updated
	}
	next, memory := *updated, *updated.Memory
	memory.CheckBeforeUpdate = new(true)
	next.Memory = &memory
	return &next
}

// memoryLimit returns the limit in bytes. Zero and negative values mean no limit.
func memoryLimit(r *specs.LinuxResources) int64 {
	if r == nil || r.Memory == nil || r.Memory.Limit == nil {
		return 0
	}
	return *r.Memory.Limit
}
