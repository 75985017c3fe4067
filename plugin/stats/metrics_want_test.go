// SPDX-License-Identifier: Apache-2.0

package stats

// both are the metrics of the fixtures that are the same with cgroup v1 and v2: value by name and
// by the labels after the base labels.
var both = map[string]uint64{
	"container_creation_time_seconds": 1000,
	"container_start_time_seconds":    1002,

	"container_spec_cpu_period":               100000,
	"container_spec_cpu_quota":                50000,
	"container_spec_cpu_shares":               1024,
	"container_spec_memory_limit_bytes":       67108864,
	"container_cpu_usage_seconds_total total": 2,
	"container_cpu_user_seconds_total":        2,
	"container_cpu_system_seconds_total":      0,

	"container_cpu_cfs_periods_total":           40,
	"container_cpu_cfs_throttled_periods_total": 7,
	"container_cpu_cfs_throttled_seconds_total": 3,
	"container_cpu_cfs_burst_periods_total":     2,
	"container_cpu_cfs_burst_seconds_total":     1,

	"container_memory_cache":                               25165824,
	"container_memory_rss":                                 8388608,
	"container_memory_kernel_usage":                        524288,
	"container_memory_mapped_file":                         2097152,
	"container_memory_swap":                                4096,
	"container_memory_failcnt":                             12,
	"container_memory_usage_bytes":                         33554432,
	"container_memory_max_usage_bytes":                     50331648,
	"container_memory_working_set_bytes":                   20971520,
	"container_memory_total_active_file_bytes":             11534336,
	"container_memory_total_inactive_file_bytes":           12582912,
	"container_memory_failures_total pgfault hierarchy":    4242,
	"container_memory_failures_total pgmajfault hierarchy": 17,
	"container_memory_file_dirty_bytes":                    8192,
	"container_memory_file_writeback_bytes":                4096,
	"container_oom_events_total":                           1,

	"container_hugetlb_usage_bytes 2MB": 4194304,
	"container_hugetlb_failcnt 2MB":     6,
	"container_hugetlb_usage_bytes 1GB": 1073741824,
	"container_hugetlb_failcnt 1GB":     0,

	"container_processes":                   3,
	"container_threads":                     4,
	"container_file_descriptors":            4,
	"container_sockets":                     2,
	"container_ulimits_soft max_open_files": 1024,

	"container_fs_reads_bytes_total /dev/sda":               4096,
	"container_fs_writes_bytes_total /dev/sda":              8192,
	"container_fs_reads_total /dev/sda":                     1,
	"container_fs_writes_total /dev/sda":                    2,
	"container_blkio_device_usage_total /dev/sda 8 0 Read":  4096,
	"container_blkio_device_usage_total /dev/sda 8 0 Write": 8192,

	"container_fs_usage_bytes /dev/sdb1":  4096,
	"container_fs_limit_bytes /dev/sdb1":  1 << 40,
	"container_fs_inodes_total /dev/sdb1": 1000,
	"container_fs_inodes_free /dev/sdb1":  400,
}

// onlyV2 are the metrics that cgroup v1 does not have, or has with other values.
var onlyV2 = map[string]uint64{
	"container_spec_memory_swap_limit_bytes":               1048576,
	"container_spec_memory_reservation_limit_bytes":        1048576,
	"container_memory_failures_total pgfault container":    4242,
	"container_memory_failures_total pgmajfault container": 17,
	"container_memory_events_high_total":                   4,
	"container_memory_events_max_total":                    12,
	"container_memory_pgscan_total":                        600,
	"container_memory_pgsteal_total":                       500,
	"container_memory_workingset_refault_file_total":       5,
	"container_memory_workingset_refault_anon_total":       3,

	"container_pressure_cpu_waiting_seconds_total":    0,
	"container_pressure_cpu_stalled_seconds_total":    0,
	"container_pressure_memory_waiting_seconds_total": 0,
	"container_pressure_memory_stalled_seconds_total": 0,
	"container_pressure_io_waiting_seconds_total":     0,
	"container_pressure_io_stalled_seconds_total":     0,

	"container_threads_max": 100,

	"container_fs_reads_bytes_total 254:0":                 512,
	"container_fs_writes_bytes_total 254:0":                0,
	"container_fs_reads_total 254:0":                       3,
	"container_fs_writes_total 254:0":                      0,
	"container_blkio_device_usage_total 254:0 254 0 Read":  512,
	"container_blkio_device_usage_total 254:0 254 0 Write": 0,
	"container_fs_io_cost_usage_seconds_total 254:0":       1,
	"container_fs_io_cost_wait_seconds_total 254:0":        2,
	"container_fs_io_cost_indebt_seconds_total 254:0":      3,
	"container_fs_io_cost_indelay_seconds_total 254:0":     4,
}

var onlyV1 = map[string]uint64{
	"container_spec_memory_swap_limit_bytes":               68157440,
	"container_spec_memory_reservation_limit_bytes":        0,
	"container_memory_failures_total pgfault container":    4200,
	"container_memory_failures_total pgmajfault container": 16,

	"container_hugetlb_max_usage_bytes 2MB": 6291456,
	"container_hugetlb_max_usage_bytes 1GB": 1073741824,

	"container_threads_max": 0,

	"container_blkio_device_usage_total /dev/sda 8 0 Sync":    12288,
	"container_blkio_device_usage_total /dev/sda 8 0 Async":   0,
	"container_blkio_device_usage_total /dev/sda 8 0 Discard": 0,
	"container_blkio_device_usage_total /dev/sda 8 0 Total":   12288,
}
