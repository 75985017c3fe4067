// SPDX-License-Identifier: Apache-2.0

package stats

// specMetrics are the present limits of the cgroup.
var specMetrics = []metric{
	gauge("container_spec_cpu_period", "CPU period of the container.",
		func(s *subject) num { return s.cpu.period }),
	gauge("container_spec_cpu_quota", "CPU quota of the container.",
		func(s *subject) num { return s.cpu.quota }),
	gauge("container_spec_cpu_shares", "CPU share of the container.",
		func(s *subject) num { return s.cpu.shares }),
	gauge("container_spec_memory_limit_bytes", "Memory limit for the container.",
		func(s *subject) num { return zeroUnlimited(s.memory.limit) }),
	gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.",
		func(s *subject) num { return zeroUnlimited(s.memory.swapLimit) }),
	gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.",
		func(s *subject) num { return zeroUnlimited(s.memory.reservation) }),
}

// zeroUnlimited returns 0 for no limit, as cAdvisor does.
func zeroUnlimited(limit num) num {
	if limit != nil && bounded(limit) == nil {
		return value(0)
	}
	return limit
}
