// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// pressureMetrics are pressure stall information (KEP-4205).
var pressureMetrics = []metric{
	counter("container_pressure_cpu_stalled_seconds_total",
		"Total time duration no tasks in the container could make progress due to CPU congestion.",
		func(s *subject) num { return stalled(s.cpu.psi) }),
	counter("container_pressure_cpu_waiting_seconds_total",
		"Total time duration tasks in the container have waited due to CPU congestion.",
		func(s *subject) num { return waited(s.cpu.psi) }),
	counter("container_pressure_memory_stalled_seconds_total",
		"Total time duration no tasks in the container could make progress due to memory congestion.",
		func(s *subject) num { return stalled(s.memory.psi) }),
	counter("container_pressure_memory_waiting_seconds_total",
		"Total time duration tasks in the container have waited due to memory congestion.",
		func(s *subject) num { return waited(s.memory.psi) }),
	counter("container_pressure_io_stalled_seconds_total",
		"Total time duration no tasks in the container could make progress due to IO congestion.",
		func(s *subject) num { return stalled(s.io.psi) }),
	counter("container_pressure_io_waiting_seconds_total",
		"Total time duration tasks in the container have waited due to IO congestion.",
		func(s *subject) num { return waited(s.io.psi) }),
}

func stalled(psi *runtimeapi.PsiStats) num { return stallTime(psi.GetFull()) }

func waited(psi *runtimeapi.PsiStats) num { return stallTime(psi.GetSome()) }

func stallTime(data *runtimeapi.PsiData) num {
	if data == nil {
		return nil
	}
	return seconds(value(data.Total))
}
