// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// hugetlbMetrics are not among the metrics that the kubelet enables in cAdvisor. They are added
// because nodes with huge pages need them.
var hugetlbMetrics = []metric{
	perPageSize("container_hugetlb_failcnt", "Number of hugepage usage hits limits",
		runtimeapi.MetricType_COUNTER, func(h *hugePages) num { return h.failures }),
	perPageSize("container_hugetlb_usage_bytes", "Current hugepage usage in bytes",
		runtimeapi.MetricType_GAUGE, func(h *hugePages) num { return h.usage }),
	perPageSize("container_hugetlb_max_usage_bytes", "Maximum hugepage usage recorded in bytes",
		runtimeapi.MetricType_GAUGE, func(h *hugePages) num { return h.peak }),
}

func perPageSize(name, help string, kind runtimeapi.MetricType, get func(h *hugePages) num) metric {
	return metric{name, help, kind, []string{"pagesize"}, func(s *subject, add addFunc) {
		for i := range s.hugetlb {
			add(get(&s.hugetlb[i]), s.hugetlb[i].size)
		}
	}}
}
