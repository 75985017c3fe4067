// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	"context"
	"sync/atomic"

	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Live is the Generator of the config in effect. Its methods are those of the Generator.
type Live struct{ current atomic.Pointer[Generator] }

// NewLive returns a Live with its first Generator.
func NewLive(g *Generator) *Live {
	l := new(Live)
	l.Set(g)
	return l
}

// Get returns the Generator. It must not be changed.
func (l *Live) Get() *Generator { return l.current.Load() }

// Set replaces the Generator.
func (l *Live) Set(g *Generator) { l.current.Store(g) }

// Check is [Generator.Check].
func (l *Live) Check(ctx context.Context, req Request) (spec.Input, error) {
	return l.Get().Check(ctx, req)
}

// Make is [Generator.Make].
func (l *Live) Make(ctx context.Context, in spec.Input, req Request) (*specs.Spec, error) {
	return l.Get().Make(ctx, in, req)
}

// Update is [Generator.Update].
func (l *Live) Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error) {
	return l.Get().Update(current, want)
}

// Adjust is [Generator.Adjust].
func (l *Live) Adjust(ctx context.Context, s *specs.Spec, a *api.ContainerAdjustment, handler string) (*specs.Spec, error) {
	return l.Get().Adjust(ctx, s, a, handler)
}

// UpdateNRI is [Generator.UpdateNRI].
func (l *Live) UpdateNRI(current *specs.Spec, want *api.LinuxResources) (*specs.Spec, error) {
	return l.Get().UpdateNRI(current, want)
}

// PodTask is [Generator.PodTask].
func (l *Live) PodTask(req PodRequest) (*specs.Spec, error) { return l.Get().PodTask(req) }

// PodCgroup is [Generator.PodCgroup].
func (l *Live) PodCgroup(req PodRequest) (string, error) { return l.Get().PodCgroup(req) }
