// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

var memoryMetrics = []metric{
	gauge("container_memory_cache", "Number of bytes of page cache memory.",
		func(s *subject) num { return s.memory.stat.cache }),
	gauge("container_memory_rss", "Size of RSS in bytes.",
		func(s *subject) num { return s.memory.stat.rss }),
	gauge("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.",
		func(s *subject) num { return s.memory.kernel }),
	gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.",
		func(s *subject) num { return s.memory.stat.mapped }),
	gauge("container_memory_swap", "Container swap usage in bytes.",
		func(s *subject) num { return s.memory.swap }),
	counter("container_memory_failcnt", "Number of memory usage hits limits",
		func(s *subject) num { return s.memory.limitHits }),
	gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed",
		func(s *subject) num { return s.memory.usage }),
	gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes",
		func(s *subject) num { return s.memory.peak }),
	gauge("container_memory_working_set_bytes", "Current working set in bytes.",
		func(s *subject) num { return s.memory.workingSet() }),
	gauge("container_memory_total_active_file_bytes", "Current total active file in bytes.",
		func(s *subject) num { return s.memory.stat.activeFile }),
	gauge("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.",
		func(s *subject) num { return s.memory.stat.inactiveFile }),
	{
		"container_memory_failures_total", "Cumulative count of memory allocation failures.",
		runtimeapi.MetricType_COUNTER, []string{"failure_type", "scope"},
		func(s *subject, add addFunc) {
			add(s.memory.stat.own.minor, "pgfault", "container")
			add(s.memory.stat.own.major, "pgmajfault", "container")
			add(s.memory.stat.all.minor, "pgfault", "hierarchy")
			add(s.memory.stat.all.major, "pgmajfault", "hierarchy")
		},
	},
	counter("container_memory_events_high_total", "Cumulative count of memory.high throttle events for the container",
		func(s *subject) num { return s.memory.high }),
	counter("container_memory_events_max_total", "Cumulative count of memory.max limit hit events for the container",
		func(s *subject) num { return s.memory.max }),
	gauge("container_memory_file_dirty_bytes", "Number of bytes of file cache that has been modified but not yet written back to disk.",
		func(s *subject) num { return s.memory.stat.dirty }),
	gauge("container_memory_file_writeback_bytes", "Number of bytes of file cache that is currently being written back to disk.",
		func(s *subject) num { return s.memory.stat.writeback }),
	counter("container_memory_pgscan_total", "Cumulative number of pages scanned by the page reclaim algorithm.",
		func(s *subject) num { return s.memory.stat.scanned }),
	counter("container_memory_pgsteal_total", "Cumulative number of pages reclaimed by the page reclaim algorithm.",
		func(s *subject) num { return s.memory.stat.stolen }),
	counter("container_memory_workingset_refault_file_total", "Cumulative number of refaults of previously evicted file pages.",
		func(s *subject) num { return s.memory.stat.refaultedFile }),
	counter("container_memory_workingset_refault_anon_total", "Cumulative number of refaults of previously evicted anonymous pages.",
		func(s *subject) num { return s.memory.stat.refaultedAnon }),
}

// oomMetrics count the processes that the kernel killed because memory was exhausted: those in a
// cgroup and, with v2, those below it.
var oomMetrics = []metric{
	counter("container_oom_events_total", "Count of out of memory events observed for the container",
		func(s *subject) num { return s.memory.oomKills }),
}
