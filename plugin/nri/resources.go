// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"maps"

	"github.com/containerd/nri/pkg/api"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Resources converts resources from the CRI. Zero and "" in the CRI mean that a value is not set.
func Resources(r *runtimeapi.LinuxContainerResources) *api.LinuxResources {
	if r == nil {
		return nil
	}
	converted := &api.LinuxResources{
		Cpu: &api.LinuxCPU{
			Shares: api.UInt64(set(uint64(r.GetCpuShares()))),
			Quota:  api.Int64(set(r.GetCpuQuota())),
			Period: api.UInt64(set(uint64(r.GetCpuPeriod()))),
			Cpus:   r.GetCpusetCpus(),
			Mems:   r.GetCpusetMems(),
		},
		Memory: &api.LinuxMemory{
			Limit: api.Int64(set(r.GetMemoryLimitInBytes())),
			Swap:  api.Int64(set(r.GetMemorySwapLimitInBytes())),
		},
		Unified: maps.Clone(r.GetUnified()),
	}
	for _, l := range r.GetHugepageLimits() {
		converted.HugepageLimits = append(converted.HugepageLimits, &api.HugepageLimit{PageSize: l.GetPageSize(), Limit: l.GetLimit()})
	}
	return converted
}

// set returns a pointer to v, or nil if v is zero.
func set[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
