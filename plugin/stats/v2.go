// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"math"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// readV2 reads a cgroup of version 2. See the kernel's
// Documentation/admin-guide/cgroup-v2.rst for each file.
func (r *Reader) readV2(cgroup string, depth depth) (c readings) {
	r.buffers.withOpenDir(r.dir(unified, cgroup), func(d dir) {
		c.cpu.readV2(d)
		c.memory.readV2(d)
		c.io.psi = pressure(d, "io.pressure")
		if depth == full {
			c.tasks.current = d.number("pids.current")
			c.cpu.readLimitsV2(d)
			c.memory.readMoreV2(d)
			c.io.devices = parseIOStat(d.content("io.stat"))
			c.tasks.limit = d.number("pids.max")
			c.hugetlb = r.hugePagesV2(d)
		}
	})
	return c
}

func (c *cpuReadings) readV2(d dir) {
	d.collect("cpu.stat", c.placeV2)
	for _, t := range []*num{&c.usage, &c.user, &c.system, &c.throttled, &c.burst} {
		*t = micro(*t)
	}
	c.psi = pressure(d, "cpu.pressure")
}

// placeV2 returns where the value of a key of cpu.stat is stored.
func (c *cpuReadings) placeV2(key []byte) *num {
	switch string(key) {
	case "usage_usec":
		return &c.usage
	case "user_usec":
		return &c.user
	case "system_usec":
		return &c.system
	case "nr_periods":
		return &c.periods
	case "nr_throttled":
		return &c.throttledPeriods
	case "throttled_usec":
		return &c.throttled
	case "nr_bursts":
		return &c.bursts
	case "burst_usec":
		return &c.burst
	}
	return nil
}

// readLimitsV2 reads cpu.weight and cpu.max. The latter is "quota period", with "max" for no quota.
func (c *cpuReadings) readLimitsV2(d dir) {
	quota, period, ok := bytes.Cut(d.content("cpu.max"), []byte{' '})
	if ok {
		c.quota, c.period = bounded(parseNumber(quota)), parseNumber(period)
	}
	if weight := d.number("cpu.weight"); weight.GetValue() > 0 {
		c.shares = value(sharesOf(weight.Value))
	}
}

// sharesOf converts the CPU weight of cgroup v2 to the CPU shares of the CRI. It is the inverse of
// ConvertCPUSharesToCgroupV2Value in github.com/opencontainers/cgroups, which OCI runtimes use: a
// parabola through (2, 1), (1024, 100) and (262144, 10000), in logarithms.
func sharesOf(weight uint64) uint64 {
	y := 612 * (math.Log10(float64(weight)) + 7.0/34)
	return uint64(math.Round(math.Exp2((math.Sqrt(125*125+4*y) - 125) / 2)))
}

// readV2 reads the memory files. As in cAdvisor, rss is anonymous memory.
func (m *memoryReadings) readV2(d dir) {
	if m.usage = d.number("memory.current"); m.usage == nil {
		return
	}
	m.limit = d.number("memory.max")
	d.collect("memory.stat", func(key []byte) *num {
		if string(key) == "kernel" { // since Linux 5.18
			return &m.kernel
		}
		return m.stat.placeV2(key)
	})
	m.stat.own = m.stat.all // v2 has only one value
	m.swap = d.number("memory.swap.current")
	m.swapLimit = d.number("memory.swap.max")
	m.swapAvailable = less(bounded(m.swapLimit), m.swap)
	m.psi = pressure(d, "memory.pressure")
}

// placeV2 returns where the value of a key of memory.stat is stored.
func (s *memoryStat) placeV2(key []byte) *num {
	switch string(key) {
	case "file":
		return &s.cache
	case "anon":
		return &s.rss
	case "file_mapped":
		return &s.mapped
	case "active_file":
		return &s.activeFile
	case "inactive_file":
		return &s.inactiveFile
	case "file_dirty":
		return &s.dirty
	case "file_writeback":
		return &s.writeback
	case "pgscan":
		return &s.scanned
	case "pgsteal":
		return &s.stolen
	case "workingset_refault_file":
		return &s.refaultedFile
	case "workingset_refault_anon":
		return &s.refaultedAnon
	case "pgfault":
		return &s.all.minor
	case "pgmajfault":
		return &s.all.major
	}
	return nil
}

func (m *memoryReadings) readMoreV2(d dir) {
	m.peak = d.number("memory.peak") // since Linux 5.19
	m.reservation = d.number("memory.min")
	d.collect("memory.events", m.placeEvent)
	m.limitHits = m.max
}

// placeEvent returns where the value of a key of memory.events is stored.
func (m *memoryReadings) placeEvent(key []byte) *num {
	switch string(key) {
	case "high":
		return &m.high
	case "max":
		return &m.max
	case "oom_kill":
		return &m.oomKills
	}
	return nil
}

// parseIOStat reads lines such as "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0
// cost.usage=5". Some kernels print a device without values before the next device, on the same
// line.
func parseIOStat(content []byte) (devices []device) {
	for line := range bytes.Lines(content) {
		for field := range bytes.FieldsSeq(line) {
			key, text, ok := bytes.Cut(field, []byte{'='})
			if !ok {
				if major, minor, ok := parseDevice(field); ok {
					devices = append(devices, device{major: major, minor: minor})
				}
				continue
			}
			if len(devices) > 0 {
				devices[len(devices)-1].setV2(key, parseNumber(text))
			}
		}
	}
	return devices
}

func (v *device) setV2(key []byte, n num) {
	switch string(key) {
	case "rbytes":
		v.bytes = append(v.bytes, operation{opRead, n})
	case "wbytes":
		v.bytes = append(v.bytes, operation{opWrite, n})
	case "rios":
		v.requests = append(v.requests, operation{opRead, n})
	case "wios":
		v.requests = append(v.requests, operation{opWrite, n})
	case "cost.usage":
		v.usage = micro(n)
	case "cost.wait":
		v.wait = micro(n)
	case "cost.indebt":
		v.inDebt = micro(n)
	case "cost.indelay":
		v.inDelay = micro(n)
	}
}

// hugePagesV2 reads the usage of huge pages: reserved pages if the kernel counts them, since runc
// limits those.
func (r *Reader) hugePagesV2(d dir) (all []hugePages) {
	for _, size := range r.pageSizes {
		h := hugePages{size: size}
		if h.usage = d.number("hugetlb." + size + ".rsvd.current"); h.usage == nil {
			h.usage = d.number("hugetlb." + size + ".current")
		}
		d.collect("hugetlb."+size+".events", onlyKey("max", &h.failures))
		all = append(all, h)
	}
	return all
}

// pressure reads a file of pressure stall information (PSI): lines such as "some avg10=0.00
// avg60=0.00 avg300=0.00 total=0", in percent and microseconds.
func pressure(d dir, name string) *runtimeapi.PsiStats {
	content, ok := d.read(name)
	if !ok {
		return nil // no PSI in this kernel, or psi=0
	}
	stats := &runtimeapi.PsiStats{}
	for line := range bytes.Lines(content) {
		kind, rest, _ := bytes.Cut(line, []byte{' '})
		switch string(kind) {
		case "some":
			stats.Some = psiData(rest)
		case "full":
			stats.Full = psiData(rest)
		}
	}
	return stats
}

func psiData(line []byte) *runtimeapi.PsiData {
	data := &runtimeapi.PsiData{}
	for field := range bytes.FieldsSeq(line) {
		key, text, _ := bytes.Cut(field, []byte{'='})
		if string(key) == "total" {
			data.Total = parseNumber(text).GetValue() * uint64(time.Microsecond)
			continue
		}
		n, _ := strconv.ParseFloat(string(text), 64)
		switch string(key) {
		case "avg10":
			data.Avg10 = n
		case "avg60":
			data.Avg60 = n
		case "avg300":
			data.Avg300 = n
		}
	}
	return data
}
