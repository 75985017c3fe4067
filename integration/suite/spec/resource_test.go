// SPDX-License-Identifier: Apache-2.0

package spec

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resourceCases are about resource limits.
func resourceCases() []podCase {
	with := func(r *runtimeapi.LinuxContainerResources) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) { c.Linux.Resources = r }
	}
	const gib = 1 << 30
	return []podCase{{name: "resources", containers: []containerCase{
		{name: "none", change: with(&runtimeapi.LinuxContainerResources{})},
		{name: "cpu", change: with(&runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512})},
		{name: "cpu shares", change: with(&runtimeapi.LinuxContainerResources{CpuShares: 2})},
		{name: "cpu without limit", change: with(&runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: -1, CpuShares: 1024})},
		{name: "memory", change: with(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: gib})},
		{name: "memory and swap", change: with(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: gib, MemorySwapLimitInBytes: 2 * gib})},
		{name: "swap equal to memory", change: with(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: gib, MemorySwapLimitInBytes: gib})},
		{name: "swap without limit", change: with(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: gib, MemorySwapLimitInBytes: -1})},
		{name: "swap alone", change: with(&runtimeapi.LinuxContainerResources{MemorySwapLimitInBytes: gib})},
		{name: "cpuset", change: with(&runtimeapi.LinuxContainerResources{CpusetCpus: "0-1", CpusetMems: "0"})},
		{name: "oom score", change: with(&runtimeapi.LinuxContainerResources{OomScoreAdj: 937})},
		{name: "oom score below the daemon's", change: with(&runtimeapi.LinuxContainerResources{OomScoreAdj: -999})},
		{name: "hugepages", change: with(&runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{
			{PageSize: "2MB", Limit: 1 << 22}, {PageSize: "1GB"},
		}})},
		{name: "unified", change: with(&runtimeapi.LinuxContainerResources{Unified: map[string]string{"memory.high": "1000000", "pids.max": "10"}})},
		{name: "cpu quota without period", change: with(&runtimeapi.LinuxContainerResources{CpuQuota: 20000})},
		{name: "hugepages, the same size twice", change: with(&runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{
			{PageSize: "2MB", Limit: 1 << 22}, {PageSize: "2MB", Limit: 1 << 21},
		}})},
		{name: "all", change: with(&runtimeapi.LinuxContainerResources{
			CpuPeriod: 200000, CpuQuota: 100000, CpuShares: 2048, MemoryLimitInBytes: gib, OomScoreAdj: 100, CpusetCpus: "0",
		})},
	}}}
}
