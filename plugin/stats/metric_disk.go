// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"strconv"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// diskMetrics are the reads and writes of block devices.
var diskMetrics = []metric{
	perDevice("container_fs_reads_bytes_total", "Cumulative count of bytes read",
		func(v *device) num { return find(v.bytes, opRead) }),
	perDevice("container_fs_reads_total", "Cumulative count of reads completed",
		func(v *device) num { return find(v.requests, opRead) }),
	perDevice("container_fs_writes_bytes_total", "Cumulative count of bytes written",
		func(v *device) num { return find(v.bytes, opWrite) }),
	perDevice("container_fs_writes_total", "Cumulative count of writes completed",
		func(v *device) num { return find(v.requests, opWrite) }),
	perDevice("container_fs_io_cost_usage_seconds_total", "Cumulative IOCost usage in seconds",
		func(v *device) num { return seconds(v.usage) }),
	perDevice("container_fs_io_cost_wait_seconds_total", "Cumulative IOCost wait in seconds",
		func(v *device) num { return seconds(v.wait) }),
	perDevice("container_fs_io_cost_indebt_seconds_total", "Cumulative IOCost debt in seconds",
		func(v *device) num { return seconds(v.inDebt) }),
	perDevice("container_fs_io_cost_indelay_seconds_total", "Cumulative IOCost delay in seconds",
		func(v *device) num { return seconds(v.inDelay) }),
	{
		"container_blkio_device_usage_total", "Blkio Device bytes usage",
		runtimeapi.MetricType_COUNTER, []string{"device", "major", "minor", "operation"},
		func(s *subject, add addFunc) {
			for _, v := range s.io.devices {
				for _, op := range v.bytes {
					add(op.n, v.name, strconv.FormatUint(v.major, 10), strconv.FormatUint(v.minor, 10), op.name)
				}
			}
		},
	},
}

func perDevice(name, help string, get func(v *device) num) metric {
	return metric{name, help, runtimeapi.MetricType_COUNTER, []string{"device"}, func(s *subject, add addFunc) {
		for i := range s.io.devices {
			add(get(&s.io.devices[i]), s.io.devices[i].name)
		}
	}}
}

func find(list []operation, name string) num {
	for _, op := range list {
		if op.name == name {
			return op.n
		}
	}
	return nil
}
