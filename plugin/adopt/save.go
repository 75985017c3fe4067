// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"context"
	"encoding/json"

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

// SaveSandbox saves the record of a pod. Of a pod of the built-in CRI only the resources can change
// that its metadata has; its state is that of its task.
func (s *Store) SaveSandbox(ctx context.Context, id string, record any) error {
	found, builtIn := s.adopted(id)
	r, ok := record.(*pod.Record)
	if !builtIn || !ok {
		return s.Containerd.SaveSandbox(ctx, id, record)
	}
	resources := encodeResources(r.Config)
	if bytes.Equal(resources, found.resources) {
		return nil
	}
	if err := s.BuiltInCRI.SaveResources(ctx, id, resources); err != nil {
		return err
	}
	found.resources = resources
	s.pods.Store(id, found)
	return nil
}

// encodeResources returns the resources of a pod as JSON of [updatedResources].
func encodeResources(c *runtimeapi.PodSandboxConfig) []byte {
	linux := c.GetLinux()
	resources := updatedResources{Overhead: linux.GetOverhead(), Resources: linux.GetResources()}
	data, _ := json.Marshal(resources) // never fails
	return data
}

// DeleteSandbox removes the record of a pod. Of a pod of the built-in CRI it removes the lease and
// other leftovers, too.
func (s *Store) DeleteSandbox(ctx context.Context, id string) error {
	if _, builtIn := s.adopted(id); builtIn {
		if err := s.removeLeftovers(id); err != nil {
			return err
		}
		if err := s.BuiltInCRI.DeleteLease(ctx, id); err != nil {
			return err
		}
	}
	if err := s.Containerd.DeleteSandbox(ctx, id); err != nil {
		return err
	}
	s.pods.Delete(id)
	return nil
}

// SaveContainer saves the record of a container. For one of the built-in CRI it writes the status
// file: everything else that can change is in the container's spec.
func (s *Store) SaveContainer(ctx context.Context, id string, record any) error {
	if r, ok := record.(*container.Record); ok && r.Runtime.BuiltIn {
		return writeStatus(s.Paths.Container(id).Status(), r)
	}
	return s.Containerd.SaveContainer(ctx, id, record)
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
