// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// adoptedPod is what is remembered of a pod of the built-in CRI.
type adoptedPod struct {
	handler   string
	sandboxer string
	resources []byte // as last saved; see encodeResources
}

// adopted returns a pod of the built-in CRI, or false for a pod of ours and for a container.
func (s *Store) adopted(id string) (adoptedPod, bool) {
	found, ok := s.pods.Load(id)
	if !ok {
		return adoptedPod{}, false
	}
	return found.(adoptedPod), true //nolint:forcetypeassert // has no other values
}

// CreateSandbox saves a new pod, also for the built-in CRI.
func (s *Store) CreateSandbox(ctx context.Context, sandbox runtime.Sandbox) error {
	if err := addPod(&sandbox); err != nil {
		return err
	}
	return s.Containerd.CreateSandbox(ctx, sandbox)
}

// SaveSandbox saves the record of a pod, also for the built-in CRI. Of a pod of the built-in CRI
// only the resources can change that its metadata has; its state is that of its task.
func (s *Store) SaveSandbox(ctx context.Context, sandbox runtime.Sandbox) error {
	found, builtIn := s.adopted(sandbox.ID)
	r, ok := sandbox.Record.(*pod.Record)
	if !builtIn || !ok {
		if err := addPod(&sandbox); err != nil {
			return err
		}
		return s.Containerd.SaveSandbox(ctx, sandbox)
	}
	resources := encodeResources(r.Config, false)
	if bytes.Equal(resources, found.resources) {
		return nil
	}
	if err := s.BuiltInCRI.SaveResources(ctx, sandbox.ID, resources); err != nil {
		return err
	}
	found.resources = resources
	s.pods.Store(sandbox.ID, found)
	return nil
}

// addPod adds what the built-in CRI needs to find a pod of ours.
func addPod(sandbox *runtime.Sandbox) (err error) {
	r, ok := sandbox.Record.(*pod.Record)
	if !ok {
		return nil
	}
	if linux := r.Config.GetLinux(); linux.GetOverhead() != nil || linux.GetResources() != nil {
		sandbox.Resources = encodeResources(r.Config, true)
	}
	sandbox.BuiltIn, err = EncodePod(r)
	return err
}

// encodeResources returns the resources of a pod, of ours or of the built-in CRI, as JSON of
// [updatedResources].
func encodeResources(c *runtimeapi.PodSandboxConfig, ours bool) []byte {
	linux := c.GetLinux()
	resources := updatedResources{Overhead: linux.GetOverhead(), Resources: linux.GetResources(), Lite: ours}
	data, _ := json.Marshal(resources) // never fails
	return data
}

// DeleteSandbox removes the record of a pod, and what the built-in CRI has created for it: the
// lease and other leftovers. A pod of ours has them, too, if the built-in CRI has created
// containers in it.
func (s *Store) DeleteSandbox(ctx context.Context, id string) error {
	_, builtIn := s.adopted(id)
	if err := s.removeLeftovers(id, builtIn); err != nil {
		return err
	}
	if err := s.BuiltInCRI.DeleteLease(ctx, id); err != nil {
		return err
	}
	if err := s.Containerd.DeleteSandbox(ctx, id); err != nil {
		return err
	}
	s.pods.Delete(id)
	return nil
}

// CreateContainer saves a new container, also for the built-in CRI.
func (s *Store) CreateContainer(ctx context.Context, c runtime.Container) (err error) {
	if r, ok := c.Record.(*container.Record); ok {
		if c.BuiltIn, err = encodeContainer(r); err != nil {
			return err
		}
		if err := writeStatus(s.Paths.Container(c.ID).Status(), r); err != nil {
			return err
		}
	}
	return s.Containerd.CreateContainer(ctx, c)
}

// SaveContainer saves the record of a container, and its state for the built-in CRI. For a
// container of the built-in CRI only the state is saved: everything else that can change is in the
// spec.
//
// The state of a container of ours must not prevent the record from being saved, for example on a
// full disk: the next save, or the next start, writes the state again.
func (s *Store) SaveContainer(ctx context.Context, c runtime.Container) error {
	r, ok := c.Record.(*container.Record)
	if !ok {
		return s.Containerd.SaveContainer(ctx, c)
	}
	path := s.Paths.Container(c.ID).Status()
	if r.Runtime.BuiltIn {
		return writeStatus(path, r)
	}
	if err := s.Containerd.SaveContainer(ctx, c); err != nil {
		return err
	}
	if err := writeStatus(path, r); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.ID).Warn("state not saved for containerd, which would show an earlier one after a change back")
	}
	return nil
}

// NewTask creates the task of a container, and records the address of its shim for containerd
// before 2.0.
func (s *Store) NewTask(ctx context.Context, id string, io cio.Creator, opts runtime.TaskOptions) (runtime.Task, error) {
	task, err := s.Containerd.NewTask(ctx, id, io, opts)
	if err != nil {
		return nil, err
	}
	if err := runtime.WriteAddress(s.Bundles, id); err != nil {
		log.G(ctx).WithError(err).WithField("container", id).Warn("containerd before 2.0 would not find the shim after a change back, and kill the container")
	}
	return task, nil
}

// DeleteTask deletes the task of a container or a pod. A pod of another sandbox controller has
// none: the controller ends it.
func (s *Store) DeleteTask(ctx context.Context, id string) error {
	if pod, builtIn := s.adopted(id); builtIn && pod.sandboxer != runtime.PodSandboxer {
		return s.BuiltInCRI.StopSandbox(ctx, pod.sandboxer, id)
	}
	return s.Containerd.DeleteTask(ctx, id)
}

// DeleteContainer removes a container, or that of a pod's task. The metadata of a pod of the
// built-in CRI is kept until the pod is removed.
func (s *Store) DeleteContainer(ctx context.Context, id string) error {
	if _, builtIn := s.adopted(id); builtIn {
		if err := s.BuiltInCRI.KeepMetadata(ctx, id); err != nil {
			return err
		}
	}
	return s.Containerd.DeleteContainer(ctx, id)
}
