// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

var cpuMetrics = []metric{
	counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.",
		func(s *subject) num { return seconds(s.cpu.user) }),
	counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.",
		func(s *subject) num { return seconds(s.cpu.system) }),
	{
		"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.",
		runtimeapi.MetricType_COUNTER, []string{"cpu"},
		func(s *subject, add addFunc) { add(seconds(s.cpu.usage), "total") },
	},
	quotaCounter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.",
		func(s *subject) num { return s.cpu.periods }),
	quotaCounter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.",
		func(s *subject) num { return s.cpu.throttledPeriods }),
	quotaCounter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.",
		func(s *subject) num { return seconds(s.cpu.throttled) }),
	quotaCounter("container_cpu_cfs_burst_periods_total", "Number of periods when burst occurs.",
		func(s *subject) num { return s.cpu.bursts }),
	quotaCounter("container_cpu_cfs_burst_seconds_total", "Total time duration the container has been bursted.",
		func(s *subject) num { return seconds(s.cpu.burst) }),
}

// quotaCounter is a counter that exists only for cgroups with a CPU quota.
func quotaCounter(name, help string, get func(s *subject) num) metric {
	return counter(name, help, func(s *subject) num {
		if s.cpu.quota == nil {
			return nil
		}
		return get(s)
	})
}
