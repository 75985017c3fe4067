// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Effective returns the resources of a container as ContainerStatus reports them: those in its
// spec, which may differ from the requested ones.
func Effective(s *specs.Spec) *runtimeapi.ContainerResources {
	l := &runtimeapi.LinuxContainerResources{}
	if s == nil {
		return &runtimeapi.ContainerResources{Linux: l}
	}
	if s.Process != nil && s.Process.OOMScoreAdj != nil {
		l.OomScoreAdj = int64(*s.Process.OOMScoreAdj)
	}
	if s.Linux != nil && s.Linux.Resources != nil {
		effectiveLimits(l, s.Linux.Resources)
	}
	return &runtimeapi.ContainerResources{Linux: l}
}

func effectiveLimits(l *runtimeapi.LinuxContainerResources, r *specs.LinuxResources) {
	if c := r.CPU; c != nil {
		l.CpuPeriod = int64(value(c.Period))
		l.CpuQuota = value(c.Quota)
		l.CpuShares = int64(value(c.Shares))
		l.CpusetCpus, l.CpusetMems = c.Cpus, c.Mems
	}
	if m := r.Memory; m != nil {
		l.MemoryLimitInBytes = value(m.Limit)
		l.MemorySwapLimitInBytes = value(m.Swap)
	}
	for _, h := range r.HugepageLimits {
		l.HugepageLimits = append(l.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: h.Pagesize, Limit: h.Limit})
	}
	l.Unified = maps.Clone(r.Unified)
}

// EffectiveUser returns the identity with which the first process of a container starts, as
// ContainerStatus reports it (KEP-3619).
func EffectiveUser(s *specs.Spec) *runtimeapi.ContainerUser {
	l := &runtimeapi.LinuxContainerUser{}
	if s != nil && s.Process != nil {
		l.Uid, l.Gid = int64(s.Process.User.UID), int64(s.Process.User.GID)
		for _, gid := range s.Process.User.AdditionalGids {
			l.SupplementalGroups = append(l.SupplementalGroups, int64(gid))
		}
	}
	return &runtimeapi.ContainerUser{Linux: l}
}

// value returns *p, or zero for nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
