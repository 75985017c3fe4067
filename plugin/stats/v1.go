// SPDX-License-Identifier: Apache-2.0

package stats

import "bytes"

// Operations of a block device that both cgroup versions count.
const (
	opRead  = "Read"
	opWrite = "Write"
)

// readV1 reads a cgroup of version 1, which has no pressure values. See the kernel's
// Documentation/admin-guide/cgroup-v1 for each file.
func (r *Reader) readV1(cgroup string, depth depth) (c readings) {
	in := func(controller string, read func(d dir)) {
		r.buffers.withPath(r.dir(controller, cgroup), read)
	}
	in("cpuacct", func(d dir) {
		c.cpu.usage = d.number("cpuacct.usage")
		if depth == full {
			c.cpu.user = d.number("cpuacct.usage_user")
			c.cpu.system = d.number("cpuacct.usage_sys")
		}
	})
	in("memory", func(d dir) {
		c.memory.readV1(d)
		if depth == full {
			c.memory.readMoreV1(d)
		}
	})
	if depth == full {
		in("pids", func(d dir) {
			c.tasks.current, c.tasks.limit = d.number("pids.current"), d.number("pids.max")
		})
		in("cpu", c.cpu.readLimitsV1)
		in("blkio", c.io.readV1)
		in("hugetlb", func(d dir) { c.hugetlb = r.hugePagesV1(d) })
	}
	return c
}

func (c *cpuReadings) readLimitsV1(d dir) {
	d.collect("cpu.stat", c.placeV1)
	c.period = d.number("cpu.cfs_period_us")
	c.quota = d.number("cpu.cfs_quota_us") // -1, no limit, is not parsed as a number
	c.shares = d.number("cpu.shares")
}

// placeV1 returns where the value of a key of cpu.stat is stored.
func (c *cpuReadings) placeV1(key []byte) *num {
	switch string(key) {
	case "nr_periods":
		return &c.periods
	case "nr_throttled":
		return &c.throttledPeriods
	case "throttled_time":
		return &c.throttled
	case "nr_bursts":
		return &c.bursts
	case "burst_time":
		return &c.burst
	}
	return nil
}

// readV1 reads the memory files. As in cAdvisor, the usage of swap comes from memory.stat.
func (m *memoryReadings) readV1(d dir) {
	if m.usage = d.number("memory.usage_in_bytes"); m.usage == nil {
		return
	}
	var inherited limitsV1
	d.collect("memory.stat", func(key []byte) *num {
		if limit := inherited.place(key); limit != nil {
			return limit
		}
		if string(key) == "total_swap" {
			return &m.swap
		}
		return m.stat.placeV1(key)
	})
	m.limit = d.limitV1("memory.limit_in_bytes", inherited.memory)
	m.swapLimit = d.limitV1("memory.memsw.limit_in_bytes", inherited.swap)
	m.swapAvailable = less(less(bounded(m.swapLimit), bounded(m.limit)), m.swap)
}

// limitsV1 are the lowest limits among a cgroup and its ancestors.
type limitsV1 struct{ memory, swap num }

// place returns where a limit in memory.stat is stored.
func (l *limitsV1) place(key []byte) *num {
	switch string(key) {
	case "hierarchical_memory_limit":
		return &l.memory
	case "hierarchical_memsw_limit":
		return &l.swap
	}
	return nil
}

// limitV1 returns the cgroup's own limit. If the lowest limit is "unlimited", so is the own one,
// and its file is not read.
func (d dir) limitV1(name string, lowest num) num {
	if lowest != nil && bounded(lowest) == nil {
		return lowest
	}
	return d.number(name)
}

// placeV1 returns where the value of a key of memory.stat is stored.
func (s *memoryStat) placeV1(key []byte) *num {
	switch string(key) {
	case "total_cache":
		return &s.cache
	case "total_rss":
		return &s.rss
	case "total_mapped_file":
		return &s.mapped
	case "total_active_file":
		return &s.activeFile
	case "total_inactive_file":
		return &s.inactiveFile
	case "total_dirty":
		return &s.dirty
	case "total_writeback":
		return &s.writeback
	case "pgfault":
		return &s.own.minor
	case "pgmajfault":
		return &s.own.major
	case "total_pgfault":
		return &s.all.minor
	case "total_pgmajfault":
		return &s.all.major
	}
	return nil
}

func (m *memoryReadings) readMoreV1(d dir) {
	m.peak = d.number("memory.max_usage_in_bytes")
	m.limitHits = d.number("memory.failcnt")
	m.kernel = d.number("memory.kmem.usage_in_bytes")
	m.reservation = d.number("memory.soft_limit_in_bytes")
	d.collect("memory.oom_control", onlyKey("oom_kill", &m.oomKills))
}

// readV1 reads the blkio.throttle files, which count the I/O of every I/O scheduler. Kernels before
// 4.17 have the files without "recursive".
func (o *ioReadings) readV1(d dir) {
	for _, suffix := range []string{"_recursive", ""} {
		content, ok := d.read("blkio.throttle.io_service_bytes" + suffix)
		if !ok {
			continue
		}
		parseBlkio(content, func(major, minor uint64, op operation) {
			v := o.device(major, minor)
			v.bytes = append(v.bytes, op)
		})
		parseBlkio(d.content("blkio.throttle.io_serviced"+suffix), func(major, minor uint64, op operation) {
			v := o.device(major, minor)
			v.requests = append(v.requests, op)
		})
		return
	}
}

// parseBlkio reads lines such as "8:0 Read 4096". The last line is the total of all devices and is
// skipped.
func parseBlkio(content []byte, found func(major, minor uint64, op operation)) {
	for line := range bytes.Lines(content) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		if major, minor, ok := parseDevice(fields[0]); ok {
			found(major, minor, operation{string(fields[1]), parseNumber(fields[2])})
		}
	}
}

// device returns the entry of a device. It is added if it is missing.
func (o *ioReadings) device(major, minor uint64) *device {
	for i := range o.devices {
		if v := &o.devices[i]; v.major == major && v.minor == minor {
			return v
		}
	}
	o.devices = append(o.devices, device{major: major, minor: minor})
	return &o.devices[len(o.devices)-1]
}

// hugePagesV1 reads the usage of huge pages: reserved pages if the kernel counts them, since runc
// limits those.
func (r *Reader) hugePagesV1(d dir) (all []hugePages) {
	for _, size := range r.pageSizes {
		prefix := "hugetlb." + size + ".rsvd"
		usage := d.number(prefix + ".usage_in_bytes")
		if usage == nil {
			prefix = "hugetlb." + size
			usage = d.number(prefix + ".usage_in_bytes")
		}
		all = append(all, hugePages{
			size:     size,
			usage:    usage,
			peak:     d.number(prefix + ".max_usage_in_bytes"),
			failures: d.number(prefix + ".failcnt"),
		})
	}
	return all
}
