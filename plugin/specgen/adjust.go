// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	"context"

	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Adjust returns the spec of a new container with the changes that NRI plugins request.
func (g *Generator) Adjust(ctx context.Context, s *specs.Spec, a *api.ContainerAdjustment, handler string) (*specs.Spec, error) {
	classes := g.classes()
	return spec.Adjust(s, a, spec.Resolvers{
		CDI:     func(s *specs.Spec, devices []string) error { return host.InjectCDI(ctx, s, devices) },
		BlockIO: classes.BlockIO,
		RDT:     classes.RDT,
	}, g.facts(handler), g.options())
}

// UpdateNRI merges resources that an NRI plugin requests into the spec of a container.
func (g *Generator) UpdateNRI(current *specs.Spec, want *api.LinuxResources) (*specs.Spec, error) {
	merged, err := spec.MergeNRI(current.Linux.Resources, want, g.facts(""), g.options())
	if err != nil {
		return nil, err
	}
	return withResources(current, merged), nil
}

// PodCgroup returns the cgroup of a pod's task, in the notation of the handler's cgroup driver.
func (g *Generator) PodCgroup(req PodRequest) (string, error) {
	return spec.PodCgroup(req.Pod, g.handler(req.HandlerName, req.Handler))
}
