// SPDX-License-Identifier: Apache-2.0

package adopt

import (
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
// the resources, or stopped the pod. It has no record of a stop, but unmounts the pod's /dev/shm.
func (s *Store) resumePod(ctx context.Context, saved *runtime.Record) error {
	updated, err := decodeResources(saved.Resources)
	if err != nil {
		return err
	}
	stopped := s.lostShm(saved.ID)
	if saved.BuiltIn && updated.Lite && !stopped {
		return nil
	}
	r := new(pod.Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	if !saved.BuiltIn { // of a release before
		return s.SaveSandbox(ctx, runtime.Sandbox{ID: saved.ID, Record: r})
	}
	if !updated.Lite {
		updated.apply(r.Config)
	}
	if stopped && r.State == pod.Ready && !r.HostIPC() {
		r.State = pod.Stopping
	}
	return setRecord(saved, r)
}

// lostShm reports whether a pod that has files has no /dev/shm of its own.
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
// file.
func (s *Store) resumeContainer(ctx context.Context, saved *runtime.Record) error {
	dir := s.Paths.Container(saved.ID)
	status, err := readStatus(dir.Status())
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	if status.Lite && saved.BuiltIn {
		return nil
	}
	r := new(container.Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	if !saved.BuiltIn || missing { // of a release before
		builtIn, err := encodeContainer(r)
		if err != nil {
			return err
		}
		return s.SaveContainer(ctx, runtime.Container{ID: saved.ID, Kind: runtime.KindContainer, Record: r, BuiltIn: builtIn})
	}
	if r.Times.Started == 0 && status.StartedAt != 0 { // with pipes of the built-in CRI
		r.Runtime.Pipes, r.Runtime.ShimWritesLog = pipesIn(dir.IO(), r.ID), false
	}
	r.PID = status.Pid
	r.Times = container.Times{Created: status.CreatedAt, Started: status.StartedAt, Finished: status.FinishedAt}
	r.Exit = exitOf(status.containerStatus)
	r.Resources = status.Resources.GetLinux()
	return setRecord(saved, r)
}

func setRecord(saved *runtime.Record, record any) (err error) {
	saved.JSON, err = json.Marshal(record)
	return err
}
