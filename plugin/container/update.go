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
	r.life.updating.Lock()
	defer r.life.updating.Unlock()
	if r, err = m.containers.Get(r.ID); err != nil {
		return err
	}
	if err := m.updateResources(ctx, r, want); err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	return nil
}

func (m *Manager) updateResources(ctx context.Context, r *Record, want *runtimeapi.LinuxContainerResources) error {
	current, err := m.Containerd.Spec(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	updated, err := m.Specs.Update(current, want)
	if err != nil {
		return err
	}
	if err := m.Containerd.SaveSpec(ctx, r.ID, updated); err != nil {
		return fmt.Errorf("save spec: %w", err)
	}
	if err := m.applyResources(ctx, r, current.Linux.Resources, updated.Linux.Resources); err != nil {
		if restore := m.Containerd.SaveSpec(context.WithoutCancel(ctx), r.ID, current); restore != nil {
			log.G(ctx).WithError(restore).WithField("container", r.ID).Error("spec not restored after a refused update; it contains the refused limits; update the container again")
		}
		return err
	}
	m.containers.settle(ctx, r.ID, func(r *Record) { r.Resources = spec.Effective(updated).GetLinux() })
	return nil
}

// applyResources changes the limits of the cgroup, if the container is running.
func (m *Manager) applyResources(ctx context.Context, r *Record, current, updated *specs.LinuxResources) error {
	// A start in progress may have read the spec before it changed.
	if err := r.life.waitStarted(ctx); err != nil {
		return err
	}
	r, err := m.containers.Get(r.ID)
	if err != nil {
		return err
	}
	task := r.task()
	if task == nil {
		return nil
	}
	err = runtime.SetResources(ctx, task, withUsageCheck(current, updated))
	if err != nil && m.watcher.hasEnded(ctx, r, task) {
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
