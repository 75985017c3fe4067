// SPDX-License-Identifier: Apache-2.0

package stats

// cgroupV2 has the files of a container in cgroup v2 with limits of 64 MiB and half a CPU. Most of
// the lines that are not read are left out.
var cgroupV2 = tree{
	"cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnice_usec 0\n" +
		"nr_periods 40\nnr_throttled 7\nthrottled_usec 3999999\nnr_bursts 2\nburst_usec 1000000\n",
	"cpu.max":      "50000 100000\n",
	"cpu.weight":   "100\n",
	"cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.05 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",

	"memory.current": "33554432\n",
	"memory.peak":    "50331648\n",
	"memory.max":     "67108864\n",
	"memory.min":     "1048576\n",
	"memory.stat": "anon 8388608\nfile 25165824\nkernel 524288\nfile_mapped 2097152\nfile_dirty 8192\nfile_writeback 4096\n" +
		"inactive_anon 0\ninactive_file 12582912\nactive_file 11534336\n" +
		"workingset_refault_anon 3\nworkingset_refault_file 5\npgscan 600\npgsteal 500\npgscan_kswapd 1\npgfault 4242\npgmajfault 17\n",
	"memory.pressure":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
	"memory.swap.current": "4096\n",
	"memory.swap.max":     "1048576\n",
	"memory.events":       "low 0\nhigh 4\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n",

	"io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n" +
		"254:1 254:0 rbytes=512 wbytes=0 rios=3 wios=0 dbytes=0 dios=0 " +
		"cost.usage=1000000 cost.wait=2000000 cost.indebt=3000000 cost.indelay=4000000\n",
	"io.pressure":  "some avg10=0.10 avg60=0.20 avg300=0.30 total=7\nfull avg10=0.01 avg60=0.02 avg300=0.03 total=6\n",
	"pids.current": "4\n",
	"pids.max":     "100\n",
	"cgroup.procs": "71\n72\n73\n",

	"hugetlb.2MB.current":      "1\n",
	"hugetlb.2MB.rsvd.current": "4194304\n",
	"hugetlb.2MB.events":       "max 6\n",
	"hugetlb.1GB.current":      "1073741824\n",
	"hugetlb.1GB.events":       "max 0\n",
}

// cgroupV1 has the same usage as cgroupV2, in the mounts of machineV1.
func cgroupV1(path string) tree {
	return tree{}.with(
		tree{
			"cpuacct.usage": "2500000000\n", "cpuacct.usage_user": "2000000000\n", "cpuacct.usage_sys": "500000000\n",
			"cpu.stat":          "nr_periods 40\nnr_throttled 7\nthrottled_time 3999999999\nnr_bursts 2\nburst_time 1000000000\n",
			"cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "50000\n", "cpu.shares": "1024\n",
		}.below("sys/fs/cgroup/cpu,cpuacct"+path),
		tree{"pids.current": "4\n", "pids.max": "max\n", "cgroup.procs": "71\n72\n73\n"}.below("sys/fs/cgroup/pids"+path),
		tree{
			"memory.usage_in_bytes":       "33554432\n",
			"memory.max_usage_in_bytes":   "50331648\n",
			"memory.limit_in_bytes":       "67108864\n",
			"memory.soft_limit_in_bytes":  "9223372036854771712\n",
			"memory.kmem.usage_in_bytes":  "524288\n",
			"memory.failcnt":              "12\n",
			"memory.memsw.limit_in_bytes": "68157440\n",
			"memory.stat": "cache 1\nrss 1\ninactive_file 1\npgfault 4200\npgmajfault 16\n" +
				"hierarchical_memory_limit 33554432\nhierarchical_memsw_limit 33554432\ntotal_swap 4096\n" +
				"total_cache 25165824\ntotal_rss 8388608\ntotal_mapped_file 2097152\ntotal_dirty 8192\ntotal_writeback 4096\n" +
				"total_inactive_file 12582912\ntotal_active_file 11534336\ntotal_pgfault 4242\ntotal_pgmajfault 17\n",
			"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
		}.below("sys/fs/cgroup/memory"+path),
		tree{
			"blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 12288\n8:0 Async 0\n" +
				"8:0 Discard 0\n8:0 Total 12288\nTotal 12288\n",
			"blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n",
			"blkio.bfq.io_service_bytes_recursive": "Total 0\n",
		}.below("sys/fs/cgroup/blkio"+path),
		tree{
			"hugetlb.2MB.rsvd.usage_in_bytes": "4194304\n", "hugetlb.2MB.rsvd.max_usage_in_bytes": "6291456\n", "hugetlb.2MB.rsvd.failcnt": "6\n",
			"hugetlb.1GB.usage_in_bytes": "1073741824\n", "hugetlb.1GB.max_usage_in_bytes": "1073741824\n", "hugetlb.1GB.failcnt": "0\n",
		}.below("sys/fs/cgroup/hugetlb"+path))
}

// hardware has huge pages of two sizes, a disk, and the processes of the cgroups above, one of
// which has exited.
var hardware = tree{
	"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
	"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":    "0\n",
	"sys/dev/block/8:0": link + "../../devices/pci0000:00/host0/block/sda",

	"proc/71/fd/0": link + "/dev/null",
	"proc/71/fd/1": link + "socket:[4711]",
	"proc/71/fd/2": link + "pipe:[4712]",
	"proc/71/limits": "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max processes             63000                63000                processes \n" +
		"Max open files            1024                 524288               files     \n",
	"proc/72/fd/7":   link + "socket:[4713]",
	"proc/72/limits": "Max open files            9                    9                    files     \n",
}
