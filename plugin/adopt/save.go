// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// known is what is remembered of a pod of the built-in CRI.
type known struct {
	handler   string
	sandboxer string
	resources []byte // as last saved, JSON of [updatedResources]
}

// podsByID are the pods of the built-in CRI.
type podsByID struct {
	mu   sync.Mutex
	byID map[string]known
}

func (p *podsByID) set(id string, pod known) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil {
		p.byID = map[string]known{}
	}
	p.byID[id] = pod
}

func (p *podsByID) get(id string) (pod known, stock bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pod, stock = p.byID[id]
	return pod, stock
}

func (p *podsByID) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// SaveSandbox saves the record of a pod. Of a pod of the built-in CRI only the resources can change
// that its metadata has; its state is that of its task.
func (s *Store) SaveSandbox(ctx context.Context, id string, record any) error {
	r, ok := record.(*pod.Record)
	if !ok || !r.Stock {
		return s.Containerd.SaveSandbox(ctx, id, record)
	}
	resources, err := json.Marshal(resourcesOf(r.Config))
	if err != nil {
		return fmt.Errorf("encode resources for the built-in CRI: %w", err)
	}
	pod, stock := s.pods.get(id)
	if !stock || bytes.Equal(resources, pod.resources) {
		return nil
	}
	if err := s.StockCRI.SaveResources(ctx, id, resources); err != nil {
		return err
	}
	pod.resources = resources
	s.pods.set(id, pod)
	return nil
}

func resourcesOf(c *runtimeapi.PodSandboxConfig) updatedResources {
	return updatedResources{Overhead: c.GetLinux().GetOverhead(), Resources: c.GetLinux().GetResources()}
}

// DeleteSandbox removes the record of a pod. Of a pod of the built-in CRI it removes the lease and
// other leftovers, too.
func (s *Store) DeleteSandbox(ctx context.Context, id string) error {
	if _, stock := s.pods.get(id); stock {
		if err := s.removeLeftovers(id); err != nil {
			return err
		}
		if err := s.StockCRI.DeleteLease(ctx, id); err != nil {
			return err
		}
	}
	if err := s.Containerd.DeleteSandbox(ctx, id); err != nil {
		return err
	}
	s.pods.forget(id)
	return nil
}

// SaveContainer saves the record of a container. For one of the built-in CRI it writes the status
// file: everything else that can change is in the container's spec.
func (s *Store) SaveContainer(ctx context.Context, id string, record any) error {
	if r, ok := record.(*container.Record); ok && r.Runtime.Stock {
		return writeStatus(s.statusFile(id), r)
	}
	return s.Containerd.SaveContainer(ctx, id, record)
}

// DeleteTask deletes the task of a container or a pod. A pod of another sandbox controller has
// none: the controller ends it.
func (s *Store) DeleteTask(ctx context.Context, id string) error {
	if pod, stock := s.pods.get(id); stock && pod.sandboxer != runtime.PodSandboxer {
		return s.StockCRI.StopSandbox(ctx, pod.sandboxer, id)
	}
	return s.Containerd.DeleteTask(ctx, id)
}

// DeleteContainer removes a container, or that of a pod's task. The metadata of a pod of the
// built-in CRI is kept until the pod is removed.
func (s *Store) DeleteContainer(ctx context.Context, id string) error {
	if _, stock := s.pods.get(id); stock {
		if err := s.StockCRI.KeepPod(ctx, id); err != nil {
			return err
		}
	}
	return s.Containerd.DeleteContainer(ctx, id)
}
