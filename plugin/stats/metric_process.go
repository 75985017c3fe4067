// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

var processMetrics = []metric{
	gauge("container_processes", "Number of processes running inside the container.",
		func(s *subject) num { return s.processes.count }),
	gauge("container_file_descriptors", "Number of open file descriptors for the container.",
		func(s *subject) num { return s.processes.files }),
	gauge("container_sockets", "Number of open sockets for the container.",
		func(s *subject) num { return s.processes.sockets }),
	gauge("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero",
		func(s *subject) num { return zeroUnlimited(s.tasks.limit) }),
	gauge("container_threads", "Number of threads running inside the container",
		func(s *subject) num { return s.tasks.current }),
	{
		"container_ulimits_soft", "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
		runtimeapi.MetricType_GAUGE, []string{"ulimit"},
		func(s *subject, add addFunc) { add(s.processes.maxOpenFiles, "max_open_files") },
	},
}
