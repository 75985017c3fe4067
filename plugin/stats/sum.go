// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// add adds the usage of another cgroup. What has no meaning as a sum stays out:
// pressure, and what is available below a limit.
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
	if v.Processes != nil {
		if u.Processes == nil {
			u.Processes = &runtimeapi.ProcessUsage{}
		}
		u.Processes.Timestamp = v.Processes.Timestamp
		u.Processes.ProcessCount = plus(u.Processes.ProcessCount, v.Processes.ProcessCount)
	}
}

// plus adds two numbers of which each may be unknown.
func plus(a, b *runtimeapi.UInt64Value) *runtimeapi.UInt64Value {
	if a == nil && b == nil {
		return nil
	}
	return value(a.GetValue() + b.GetValue())
}
