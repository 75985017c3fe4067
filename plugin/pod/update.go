// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// UpdateResources records new resources of a pod: overhead is what the pod itself needs, resources
// the sum of its containers; nil keeps the recorded value. It changes nothing but the config in the
// record: the kubelet has written the pod's cgroup before the call (KEP-1287), and pods have no
// other limits.
func (m *Manager) UpdateResources(ctx context.Context, id string, overhead, resources *runtimeapi.LinuxContainerResources) error {
	r, err := m.Get(id)
	if err != nil {
		return err
	}
	if err := spec.CheckPodResources(overhead, resources); err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	err = m.Plugins.UpdatePodSandbox(ctx, m.Subject(ctx, r), nri.Resources(overhead), nri.Resources(resources))
	if err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	next, err := m.pods.Update(ctx, r.ID, func(r *Record) (*Record, error) {
		return r.with(func(r *Record) { r.Config = resized(r.Config, overhead, resources) }), nil
	})
	if err != nil {
		return fmt.Errorf("%s: update: %w", r, err)
	}
	m.Plugins.PostUpdatePodSandbox(ctx, m.Subject(ctx, next))
	return nil
}

// resized returns a copy of a pod's config with other resources.
func resized(c *runtimeapi.PodSandboxConfig, overhead, resources *runtimeapi.LinuxContainerResources) *runtimeapi.PodSandboxConfig {
	c = proto.CloneOf(c)
	if c.Linux == nil {
		c.Linux = &runtimeapi.LinuxPodSandboxConfig{}
	}
	if overhead != nil {
		c.Linux.Overhead = overhead
	}
	if resources != nil {
		c.Linux.Resources = resources
	}
	return c
}
