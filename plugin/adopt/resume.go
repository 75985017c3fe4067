// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd/log"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// eachOfOurs calls resume for each record of ours, which may change it. An error is logged, and the
// record stays as it was saved.
func (s *Store) eachOfOurs(ctx context.Context, kind string, records []runtime.Record, resume func(context.Context, *runtime.Record) error) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for i := range records {
		group.Go(guard.Func(ctx, "resume "+kind, func() error {
			if err := resume(ctx, &records[i]); err != nil {
				log.G(ctx).WithError(err).WithField(kind, records[i].ID).
					Warn("changes that containerd's built-in CRI made are not known; continuing with the last record")
			}
			return nil
		}))
	}
	_ = group.Wait() // only a panic, which is logged
}

// resumePod adds to the record of a pod of ours what the built-in CRI has changed since: it updated
// the resources, or stopped or removed the pod. A pod that it has removed gets no JSON.
func (s *Store) resumePod(ctx context.Context, saved *runtime.Record) error {
	updated, err := decodeResources(saved.Resources)
	if err != nil {
		log.G(ctx).WithError(err).WithField("pod", saved.ID).Warn("updated resources of the pod not read; continuing with those of its record")
		updated.Lite = true
	}
	lost := s.lostShm(saved.ID)
	if saved.BuiltIn && updated.Lite && !lost && !bytes.Contains(saved.JSON, []byte(pod.Creating)) {
		return nil // unchanged, as most are
	}
	r := new(pod.Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	changed := !saved.BuiltIn // of an earlier release
	if !updated.Lite {
		updated.apply(r.Config)
		changed = true
	}
	state, err := s.stateAfterBuiltIn(ctx, r, lost)
	if err != nil {
		return err
	}
	if state == pod.Stopped && r.State != pod.Stopped {
		saved.JSON = nil
		return s.DeleteSandbox(ctx, r.ID)
	}
	changed = changed || state != r.State
	if !changed {
		return nil
	}
	r.State = state
	if err := setRecord(saved, r); err != nil {
		return err
	}
	return s.SaveSandbox(ctx, runtime.Sandbox{ID: saved.ID, Record: r})
}

// stateAfterBuiltIn returns the state of a pod of ours after a visit of the built-in CRI. The
// built-in CRI has no record of a stop, but unmounts the pod's /dev/shm. Before containerd 2.0 its
// removal of a pod leaves our record, but neither the container of the pod's task nor a namespace:
// the result is Stopped. A pod whose Run was interrupted, and in which the built-in CRI has created
// containers, is Stopping, so that they end in order.
func (s *Store) stateAfterBuiltIn(ctx context.Context, r *pod.Record, lostShm bool) (pod.State, error) {
	switch {
	case r.State == pod.Creating:
		used, err := s.usedByBuiltIn(ctx, r.ID)
		if err != nil || !used {
			return r.State, err
		}
		return pod.Stopping, nil
	case r.State != pod.Ready || !lostShm:
		return r.State, nil
	}
	hasTask, err := s.BuiltInCRI.HasContainer(ctx, r.ID)
	switch {
	case err != nil:
		return r.State, err
	case hasTask && r.HostIPC(): // it has no /dev/shm of its own
		return r.State, nil
	case hasTask, r.HostIPC() && (r.HostNetwork() || exists(r.Namespaces.Net)):
		return pod.Stopping, nil
	}
	return pod.Stopped, nil
}

// usedByBuiltIn reports whether the built-in CRI has created a container in a pod.
func (s *Store) usedByBuiltIn(ctx context.Context, podID string) (bool, error) {
	list, err := s.BuiltInCRI.List(ctx, runtime.KindContainer)
	if err != nil {
		return false, err
	}
	for _, found := range list {
		var m containerMetadata
		if decodeMetadata(found.Metadata, &m) == nil && m.SandboxID == podID {
			return true, nil
		}
	}
	return false, nil
}

// lostShm reports whether no /dev/shm is mounted for a pod.
func (s *Store) lostShm(id string) bool {
	mounted, err := mountinfo.Mounted(s.Paths.Pod(id).Shm())
	return err == nil && !mounted || errors.Is(err, fs.ErrNotExist)
}

// decodeResources decodes the resources of a pod after an update. Without an update, the record has
// the resources.
func decodeResources(data []byte) (updated updatedResources, err error) {
	if data == nil {
		return updatedResources{Lite: true}, nil
	}
	if err := json.Unmarshal(data, &updated); err != nil {
		return updated, fmt.Errorf("decode updated resources: %w", err)
	}
	return updated, nil
}

// apply sets the resources in the config of a pod.
func (u updatedResources) apply(c *runtimeapi.PodSandboxConfig) {
	if c.Linux == nil {
		c.Linux = &runtimeapi.LinuxPodSandboxConfig{}
	}
	c.Linux.Overhead, c.Linux.Resources = u.Overhead, u.Resources
}

// resumeContainer adds to the record of a container of ours what the built-in CRI has changed
// since: it started the container, saw it end, or updated its resources. All that is in the status
// file, which is replaced if it cannot be used.
func (s *Store) resumeContainer(ctx context.Context, saved *runtime.Record) error {
	dir := s.Paths.Container(saved.ID)
	status, err := readStatus(dir.Status())
	unusable := err != nil || status.CreatedAt == 0 // containerd writes zeros if it cannot read it
	if saved.BuiltIn && !unusable && status.Lite {
		return nil
	}
	r := new(container.Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	switch {
	case !saved.BuiltIn: // of an earlier release
		builtIn, err := encodeContainer(r)
		if err != nil {
			return err
		}
		return s.SaveContainer(ctx, runtime.Container{ID: saved.ID, Kind: runtime.KindContainer, Record: r, BuiltIn: builtIn})
	case unusable, isOlder(status.containerStatus, r):
		return writeStatus(dir.Status(), r)
	}
	if pipes := pipesIn(dir.IO(), r.ID); r.Times.Started == 0 && status.StartedAt != 0 && pipes != "" {
		r.Runtime.Pipes, r.Runtime.ShimWritesLog = pipes, false // the built-in CRI has started it
	}
	r.PID = status.Pid
	r.Times = container.Times{Created: status.CreatedAt, Started: status.StartedAt, Finished: status.FinishedAt}
	r.Exit = exitOf(status.containerStatus)
	if status.Resources != nil { // an earlier containerd may not save them
		r.Resources = status.Resources.GetLinux()
	}
	return setRecord(saved, r)
}

// isOlder reports whether a status is from before the record: a power failure can undo the last
// write of the file. A container that has ended does not change any more.
func isOlder(s containerStatus, r *container.Record) bool {
	return r.Times.Finished != 0 || r.Times.Started != 0 && s.StartedAt == 0
}

func setRecord(saved *runtime.Record, record any) (err error) {
	saved.JSON, err = json.Marshal(record)
	return err
}
