// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Defaults of the kernel for a cgroup without limits; the period is in microseconds.
const defaultCPUPeriod, defaultCPUShares = 100000, 1024

// Restore returns the resources that undo an update to updated, even if only a part of it was
// applied. These are current and, for each limit that updated has and current does not, no limit.
// Lists of CPUs and memory nodes that current does not have remain, because an OCI runtime cannot
// remove them.
func Restore(current, updated *specs.LinuxResources) (*specs.LinuxResources, error) {
	if current == nil {
		current = &specs.LinuxResources{}
	}
	r, err := clone(current)
	if err != nil {
		return nil, err
	}
	if r.CPU == nil {
		r.CPU = &specs.LinuxCPU{}
	}
	if r.Memory == nil {
		r.Memory = &specs.LinuxMemory{}
	}
	restoreCPU(r.CPU, updated.CPU)
	restoreMemory(r.Memory, updated.Memory)
	for file := range updated.Unified {
		if _, found := r.Unified[file]; found || setByField(r, file) {
			continue
		}
		if value, known := unlimitedValue(file); known {
			if r.Unified == nil {
				r.Unified = map[string]string{}
			}
			r.Unified[file] = value
		}
	}
	return r, nil
}

func restoreCPU(r, updated *specs.LinuxCPU) {
	if updated == nil {
		return
	}
	if value(r.Quota) == 0 && updated.Quota != nil {
		r.Quota = new(int64(-1))
	}
	// crun removes a quota only if a period is set, too.
	if value(r.Period) == 0 && (updated.Period != nil || updated.Quota != nil) {
		r.Period = new(uint64(defaultCPUPeriod))
	}
	if value(r.Shares) == 0 && updated.Shares != nil {
		r.Shares = new(uint64(defaultCPUShares))
	}
}

func restoreMemory(r, updated *specs.LinuxMemory) {
	if updated == nil {
		return
	}
	if value(r.Limit) == 0 && updated.Limit != nil {
		r.Limit = new(int64(-1))
	}
	if value(r.Swap) == 0 && updated.Swap != nil {
		r.Swap = new(int64(-1))
	}
}

// setByField reports whether a field of r sets a control file; a value in unified would override
// the field. r.CPU and r.Memory must not be nil.
func setByField(r *specs.LinuxResources, file string) bool {
	switch file {
	case "cpu.max":
		return value(r.CPU.Quota) != 0
	case "cpu.weight":
		return value(r.CPU.Shares) != 0
	case "memory.max":
		return value(r.Memory.Limit) != 0
	case "memory.swap.max":
		return value(r.Memory.Swap) != 0
	case "pids.max":
		return r.Pids != nil
	}
	return false
}

// unlimitedValue returns the value of a control file of cgroup v2 in a new cgroup (cgroup-v2.rst of
// the kernel). known is false for other files.
func unlimitedValue(file string) (value string, known bool) {
	switch file {
	case "cpu.weight":
		return "100", true
	case "memory.min", "memory.low", "memory.oom.group", "cpu.idle":
		return "0", true
	}
	return "max", strings.HasSuffix(file, ".max") && file != "io.max" || file == "memory.high" || file == "memory.swap.high"
}
