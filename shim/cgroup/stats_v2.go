// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup2/stats"
)

// unifiedMetrics reads the control files of a v2 cgroup (kernel documentation, cgroup-v2.rst).
func unifiedMetrics(dir string) *stats.Metrics {
	m := &stats.Metrics{
		Pids:         &stats.PidsStat{Current: number(dir, "pids.current"), Limit: number(dir, "pids.max")},
		CPU:          &stats.CPUStat{PSI: pressure(dir, "cpu")},
		Memory:       unifiedMemory(dir),
		MemoryEvents: &stats.MemoryEvents{},
		Io:           &stats.IOStat{PSI: pressure(dir, "io"), Usage: unifiedIO(dir)},
		Rdma:         &stats.RdmaStat{Current: rdma[stats.RdmaEntry](dir, "rdma.current"), Limit: rdma[stats.RdmaEntry](dir, "rdma.max")},
	}
	fill(m.CPU, filepath.Join(dir, "cpu.stat"), nil)
	fill(m.MemoryEvents, filepath.Join(dir, "memory.events"), nil)
	for _, size := range hugePageSizes(dir, "current") {
		file := filepath.Join(dir, "hugetlb."+size)
		failed, _ := readKey(file+".events", "max")
		m.Hugetlb = append(m.Hugetlb, &stats.HugeTlbStat{
			Pagesize: size,
			Current:  number(file + ".current"),
			Max:      number(file + ".max"),
			Failcnt:  failed,
		})
	}
	return m
}

// unifiedKills returns empty metrics and a function that adds the kills to them once they are
// filled.
func unifiedKills(kills uint64) (*stats.Metrics, func()) {
	m := &stats.Metrics{}
	return m, func() {
		if m.MemoryEvents == nil {
			m.MemoryEvents = &stats.MemoryEvents{}
		}
		m.MemoryEvents.OomKill = max(m.MemoryEvents.OomKill, kills)
	}
}

// unifiedIO reads lines of the form "major:minor key=number …". Some kernels print a device without
// numbers on the same line as the next device.
func unifiedIO(dir string) []*stats.IOEntry {
	var entries []*stats.IOEntry
	for line := range lines(filepath.Join(dir, "io.stat")) {
		words := strings.Fields(line)
		first := slices.IndexFunc(words, func(word string) bool { return strings.Contains(word, "=") })
		if first < 1 {
			continue
		}
		entry := &stats.IOEntry{}
		entry.Major, entry.Minor = device(words[first-1])
		fillPairs(entry, words[first:], nil)
		entries = append(entries, entry)
	}
	return entries
}

func unifiedMemory(dir string) *stats.MemoryStat {
	m := &stats.MemoryStat{PSI: pressure(dir, "memory")}
	fill(m, filepath.Join(dir, "memory.stat"), nil)
	m.Usage = number(dir, "memory.current")
	m.UsageLimit = number(dir, "memory.max")
	m.MaxUsage = number(dir, "memory.peak")
	m.SwapUsage = number(dir, "memory.swap.current")
	m.SwapLimit = number(dir, "memory.swap.max")
	m.SwapMaxUsage = number(dir, "memory.swap.peak")
	return m
}

// pressure reads pressure stall information (kernel documentation, psi.rst); nil if the kernel has
// none.
func pressure(dir, resource string) *stats.PSIStats {
	var psi *stats.PSIStats
	for line := range lines(filepath.Join(dir, resource+".pressure")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		data := &stats.PSIData{}
		fillPairs(data, words[1:], nil)
		if psi == nil {
			psi = &stats.PSIStats{}
		}
		switch words[0] {
		case "some":
			psi.Some = data
		case "full":
			psi.Full = data
		}
	}
	return psi
}
