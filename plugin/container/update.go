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

// UpdateResources changes the limits of a container: those of its spec, and,
// when it runs, those of its cgroup. A field that is zero stays as it is. When
// the cgroup refuses the limits the old ones are put back. A memory limit below what
// is in use is refused: the container would be killed for it.
//
// The lock that is held keeps two updates of one container apart; nobody who
// reads waits for it.
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
			log.G(ctx).WithError(restore).WithField("container", r.ID).Error("spec keeps limits that were refused")
		}
		return err
	}
	m.settle(ctx, r.ID, func(r *Record) { r.Resources = spec.Effective(updated).GetLinux() })
	return nil
}

// applyResources changes the limits of the cgroup, if the container has one.
func (m *Manager) applyResources(ctx context.Context, r *Record, current, updated *specs.LinuxResources) error {
	// A start under way may have read the spec before it was changed.
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
	err = runtime.SetResources(ctx, task, checked(current, updated))
	if err != nil && m.hasEnded(ctx, r, task) {
		return nil
	}
	if err != nil {
		m.putBack(ctx, r, task, current, updated)
	}
	return err
}

// putBack sets the limits of before an update that was refused: what came before the
// refused one in the order of the OCI runtime is set. runc means to take it back, but
// has forgotten the old limits by then (update.go changes what Container.Set falls
// back to), and crun does not.
func (m *Manager) putBack(ctx context.Context, r *Record, task runtime.Task, current, refused *specs.LinuxResources) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	limits, err := spec.Restore(current, refused)
	if err == nil {
		err = runtime.SetResources(ctx, task, limits)
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("some of the limits that were refused may hold")
	}
}

// checked asks the shim, or the OCI runtime of another shim than ours, to look at the memory in use
// before it lowers a limit of cgroup v2; with v1 the kernel does. A limit that stays is no matter:
// the memory in use, with the page cache, may well have reached it.
func checked(current, updated *specs.LinuxResources) *specs.LinuxResources {
	limit := memoryLimit(updated)
	if old := memoryLimit(current); limit <= 0 || old > 0 && limit >= old {
		return updated
	}
	next, memory := *updated, *updated.Memory
	memory.CheckBeforeUpdate = new(true)
	next.Memory = &memory
	return &next
}

// memoryLimit is in bytes; zero and below is none.
func memoryLimit(r *specs.LinuxResources) int64 {
	if r == nil || r.Memory == nil || r.Memory.Limit == nil {
		return 0
	}
	return *r.Memory.Limit
}
