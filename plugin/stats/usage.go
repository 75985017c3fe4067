// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// Usage is the resource usage of a cgroup. Values that could not be read are nil.
type Usage struct {
	CPU    *runtimeapi.CpuUsage
	Memory *runtimeapi.MemoryUsage
	Swap   *runtimeapi.SwapUsage
	IO     *runtimeapi.IoUsage
}

// Usage reads a cgroup, given as the cgroupsPath of an OCI spec or as the cgroup_parent of a pod. A
// missing cgroup has a Usage without values.
func (r *Reader) Usage(cgroup string) Usage {
	c := r.read(cgroup, brief)
	return c.usage()
}

func (c *readings) usage() (u Usage) {
	if c.cpu.usage != nil {
		u.CPU = &runtimeapi.CpuUsage{Timestamp: c.at, UsageCoreNanoSeconds: c.cpu.usage, Psi: c.cpu.psi}
	}
	if c.memory.usage != nil {
		u.Memory = c.memory.message(c.at)
	}
	if c.memory.swap != nil {
		u.Swap = &runtimeapi.SwapUsage{
			Timestamp:          c.at,
			SwapUsageBytes:     c.memory.swap,
			SwapAvailableBytes: c.memory.swapAvailable,
		}
	}
	if c.io.psi != nil {
		u.IO = &runtimeapi.IoUsage{Timestamp: c.at, Psi: c.io.psi}
	}
	return u
}

func (m *memoryReadings) message(at int64) *runtimeapi.MemoryUsage {
	return &runtimeapi.MemoryUsage{
		Timestamp:       at,
		UsageBytes:      m.usage,
		WorkingSetBytes: m.workingSet(),
		AvailableBytes:  less(bounded(m.limit), m.workingSet()),
		RssBytes:        m.stat.rss,
		PageFaults:      m.stat.all.minor,
		MajorPageFaults: m.stat.all.major,
		Psi:             m.psi,
	}
}

// workingSet is the memory that the kubelet's eviction is based on: the usage without file pages
// that were not accessed lately.
func (m *memoryReadings) workingSet() num { return less(m.usage, m.stat.inactiveFile) }

// add adds the usage of another cgroup. Values that have no meaning as a sum are left out:
// pressure, and the memory that is available below a limit.
func (u *Usage) add(v Usage) {
	if v.CPU != nil {
		if u.CPU == nil {
			u.CPU = &runtimeapi.CpuUsage{}
		}
		u.CPU.Timestamp = v.CPU.Timestamp
		u.CPU.UsageCoreNanoSeconds = plus(u.CPU.UsageCoreNanoSeconds, v.CPU.UsageCoreNanoSeconds)
	}
	if v.Memory != nil {
		if u.Memory == nil {
			u.Memory = &runtimeapi.MemoryUsage{}
		}
		sum := u.Memory
		sum.Timestamp = v.Memory.Timestamp
		sum.UsageBytes = plus(sum.UsageBytes, v.Memory.UsageBytes)
		sum.WorkingSetBytes = plus(sum.WorkingSetBytes, v.Memory.WorkingSetBytes)
		sum.RssBytes = plus(sum.RssBytes, v.Memory.RssBytes)
		sum.PageFaults = plus(sum.PageFaults, v.Memory.PageFaults)
		sum.MajorPageFaults = plus(sum.MajorPageFaults, v.Memory.MajorPageFaults)
	}
}
