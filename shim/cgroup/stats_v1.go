// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1/stats"
)

// tick is the unit of cpuacct.stat: USER_HZ is 100 on all architectures that Go supports.
const tick = uint64(time.Second / 100)

// legacyMetrics reads the control files of a v1 cgroup, for the controllers that it is in (kernel
// documentation, cgroup-v1).
func (g *Group) legacyMetrics() *stats.Metrics {
	m := &stats.Metrics{CPU: &stats.CPUStat{Usage: &stats.CPUUsage{}, Throttling: &stats.Throttle{}}}
	for controller, read := range map[string]func(*stats.Metrics, string){
		"pids":    legacyPids,
		"cpu":     legacyThrottling,
		"cpuacct": legacyUsage,
		"memory":  legacyMemory,
		"blkio":   legacyBlockIO,
		"hugetlb": legacyHugePages,
		"rdma":    legacyRdma,
	} {
		if dir, err := g.dir(controller); err == nil {
			read(m, dir)
		}
	}
	return m
}

func legacyPids(m *stats.Metrics, dir string) {
	m.Pids = &stats.PidsStat{Current: number(dir, "pids.current"), Limit: number(dir, "pids.max")}
	if m.Pids.Limit == math.MaxUint64 {
		m.Pids.Limit = 0 // in v1 metrics 0 means no limit
	}
}

func legacyThrottling(m *stats.Metrics, dir string) {
	fill(m.CPU.Throttling, filepath.Join(dir, "cpu.stat"), names{"nr_periods": "periods", "nr_throttled": "throttled_periods"})
}

func legacyUsage(m *stats.Metrics, dir string) {
	usage := m.CPU.Usage
	fill(usage, filepath.Join(dir, "cpuacct.stat"), names{"system": "kernel"})
	usage.User *= tick
	usage.Kernel *= tick
	usage.Total = number(dir, "cpuacct.usage")
	for line := range lines(filepath.Join(dir, "cpuacct.usage_percpu")) {
		for word := range strings.FieldsSeq(line) {
			usage.PerCPU = append(usage.PerCPU, parse(word))
		}
	}
}

func legacyMemory(m *stats.Metrics, dir string) {
	m.Memory = &stats.MemoryStat{
		Usage:     memoryEntry(dir, "memory."),
		Swap:      memoryEntry(dir, "memory.memsw."),
		Kernel:    memoryEntry(dir, "memory.kmem."),
		KernelTCP: memoryEntry(dir, "memory.kmem.tcp."),
	}
	fill(m.Memory, filepath.Join(dir, "memory.stat"), names{
		"pgpgin": "pg_pg_in", "pgpgout": "pg_pg_out", "pgfault": "pg_fault", "pgmajfault": "pg_maj_fault",
		"total_pgpgin": "total_pg_pg_in", "total_pgpgout": "total_pg_pg_out",
		"total_pgfault": "total_pg_fault", "total_pgmajfault": "total_pg_maj_fault",
		"hierarchical_memsw_limit": "hierarchical_swap_limit",
	})
	m.MemoryOomControl = &stats.MemoryOomControl{}
	fill(m.MemoryOomControl, filepath.Join(dir, "memory.oom_control"), nil)
}

// legacyKills is unifiedKills for v1.
func legacyKills(kills uint64) (*stats.Metrics, func()) {
	m := &stats.Metrics{}
	return m, func() {
		if m.MemoryOomControl == nil {
			m.MemoryOomControl = &stats.MemoryOomControl{}
		}
		m.MemoryOomControl.OomKill = max(m.MemoryOomControl.OomKill, kills)
	}
}

func memoryEntry(dir, prefix string) *stats.MemoryEntry {
	return &stats.MemoryEntry{
		Usage:   number(dir, prefix+"usage_in_bytes"),
		Max:     number(dir, prefix+"max_usage_in_bytes"),
		Failcnt: number(dir, prefix+"failcnt"),
		Limit:   number(dir, prefix+"limit_in_bytes"),
	}
}

// legacyBlockIO reads the counters of the I/O scheduler, or those of the throttling layer if the
// kernel has no others.
func legacyBlockIO(m *stats.Metrics, dir string) {
	m.Blkio = &stats.BlkIOStat{
		SectorsRecursive:        blockIO(dir, "sectors_recursive"),
		IoServiceBytesRecursive: blockIO(dir, "io_service_bytes_recursive"),
		IoServicedRecursive:     blockIO(dir, "io_serviced_recursive"),
		IoQueuedRecursive:       blockIO(dir, "io_queued_recursive"),
		IoServiceTimeRecursive:  blockIO(dir, "io_service_time_recursive"),
		IoWaitTimeRecursive:     blockIO(dir, "io_wait_time_recursive"),
		IoMergedRecursive:       blockIO(dir, "io_merged_recursive"),
		IoTimeRecursive:         blockIO(dir, "time_recursive"),
	}
	if len(m.Blkio.IoServicedRecursive) == 0 {
		m.Blkio.IoServicedRecursive = blockIO(dir, "throttle.io_serviced")
		m.Blkio.IoServiceBytesRecursive = blockIO(dir, "throttle.io_service_bytes")
	}
}

// blockIO reads lines of the form "major:minor operation number"; some files have no operation. The
// last line is the sum.
func blockIO(dir, file string) []*stats.BlkIOEntry {
	var entries []*stats.BlkIOEntry
	for line := range lines(filepath.Join(dir, "blkio."+file)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] == "Total" {
			continue
		}
		entry := &stats.BlkIOEntry{Value: parse(words[len(words)-1])}
		if len(words) > 2 {
			entry.Op = words[1]
		}
		entry.Major, entry.Minor = device(words[0])
		if link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", entry.Major, entry.Minor)); err == nil {
			entry.Device = filepath.Join("/dev", filepath.Base(link))
		}
		entries = append(entries, entry)
	}
	return entries
}

func legacyHugePages(m *stats.Metrics, dir string) {
	for _, size := range hugePageSizes(dir, "usage_in_bytes") {
		file := filepath.Join(dir, "hugetlb."+size)
		m.Hugetlb = append(m.Hugetlb, &stats.HugetlbStat{
			Pagesize: size,
			Usage:    number(file + ".usage_in_bytes"),
			Max:      number(file + ".max_usage_in_bytes"),
			Failcnt:  number(file + ".failcnt"),
		})
	}
}

func legacyRdma(m *stats.Metrics, dir string) {
	m.Rdma = &stats.RdmaStat{Current: rdma[stats.RdmaEntry](dir, "rdma.current"), Limit: rdma[stats.RdmaEntry](dir, "rdma.max")}
}
