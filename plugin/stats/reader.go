// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Usage is what a cgroup uses. What could not be read is nil.
type Usage struct {
	CPU       *runtimeapi.CpuUsage
	Memory    *runtimeapi.MemoryUsage
	Swap      *runtimeapi.SwapUsage
	IO        *runtimeapi.IoUsage
	Processes *runtimeapi.ProcessUsage
}

// Reader reads the files of cgroups, of version 2 or 1.
type Reader struct {
	cgroups hierarchies
	buffers *buffers
}

// NewReader looks up how cgroups are mounted below root, which is "/" but in
// tests. They are not expected to move afterwards.
func NewReader(root string) (*Reader, error) {
	cgroups, err := findHierarchies(root)
	if err != nil {
		return nil, err
	}
	return &Reader{cgroups: cgroups, buffers: newBuffers()}, nil
}

// Usage reads a cgroup, given as the cgroupsPath of an OCI spec or as the
// cgroup_parent of a pod: a path, slice:prefix:name or name.slice. A cgroup that
// is not there uses nothing that is known.
func (r *Reader) Usage(cgroup string) Usage {
	at := time.Now().UnixNano()
	cgroup = expand(cgroup)
	if _, ok := r.cgroups.mounts[unified]; ok {
		return r.usageV2(cgroup, at)
	}
	return r.usageV1(cgroup, at)
}

// OOMKilled tells whether the kernel has killed a process of the cgroup, or of
// one below it (systemd keeps a container's init there), for want of memory. It
// is false once the cgroup is removed.
func (r *Reader) OOMKilled(cgroup string) bool {
	cgroup = expand(cgroup)
	directory, file := r.cgroups.dir(unified, cgroup), "memory.events"
	if directory == "" {
		directory, file = r.cgroups.dir("memory", cgroup), "memory.oom_control"
	}
	var killed bool
	r.buffers.in(directory, func(d dir) {
		content, _ := d.read(file)
		for key, n := range fields(content) {
			killed = killed || key == "oom_kill" && n > 0
		}
	})
	return killed
}

func (r *Reader) usageV2(cgroup string, at int64) (u Usage) {
	r.buffers.in(r.cgroups.dir(unified, cgroup), func(d dir) {
		u.CPU = cpuV2(d, at)
		u.Memory = memoryV2(d, at)
		u.Swap = swapV2(d, at)
		if psi := pressure(d, "io.pressure"); psi != nil {
			u.IO = &runtimeapi.IoUsage{Timestamp: at, Psi: psi}
		}
		u.Processes = processes(d, at)
	})
	return u
}

func cpuV2(d dir, at int64) *runtimeapi.CpuUsage {
	content, _ := d.read("cpu.stat")
	for key, microseconds := range fields(content) {
		if key == "usage_usec" {
			return &runtimeapi.CpuUsage{
				Timestamp:            at,
				UsageCoreNanoSeconds: value(microseconds * uint64(time.Microsecond)),
				Psi:                  pressure(d, "cpu.pressure"),
			}
		}
	}
	return nil
}

// memoryV2 counts as rss what cAdvisor does: anonymous memory.
func memoryV2(d dir, at int64) *runtimeapi.MemoryUsage {
	usage, ok := d.number("memory.current")
	if !ok {
		return nil
	}
	m := memory{usage: usage}
	m.limit, m.limited = d.number("memory.max")
	m.stat = readMemoryStat(d, statKeys{"inactive_file", "anon", "pgfault", "pgmajfault"})
	answer := m.usageAt(at)
	answer.Psi = pressure(d, "memory.pressure")
	return answer
}

func swapV2(d dir, at int64) *runtimeapi.SwapUsage {
	usage, ok := d.number("memory.swap.current")
	if !ok {
		return nil // the kernel does not account for swap
	}
	swap := &runtimeapi.SwapUsage{Timestamp: at, SwapUsageBytes: value(usage)}
	if limit, ok := d.number("memory.swap.max"); ok {
		swap.SwapAvailableBytes = value(minus(limit, usage))
	}
	return swap
}

// usageV1 has no pressure: cgroup v1 does not measure it.
func (r *Reader) usageV1(cgroup string, at int64) (u Usage) {
	r.buffers.in(r.cgroups.dir("cpuacct", cgroup), func(d dir) {
		if nanoseconds, ok := d.number("cpuacct.usage"); ok {
			u.CPU = &runtimeapi.CpuUsage{Timestamp: at, UsageCoreNanoSeconds: value(nanoseconds)}
		}
	})
	r.buffers.in(r.cgroups.dir("memory", cgroup), func(d dir) {
		u.Memory, u.Swap = memoryV1(d, at)
	})
	r.buffers.in(r.cgroups.dir("pids", cgroup), func(d dir) {
		u.Processes = processes(d, at)
	})
	return u
}

// unlimitedV1 is what memory limits of cgroup v1 are above of when there is no
// limit: the largest number, rounded to pages.
const unlimitedV1 = 1 << 62

func memoryV1(d dir, at int64) (*runtimeapi.MemoryUsage, *runtimeapi.SwapUsage) {
	usage, ok := d.number("memory.usage_in_bytes")
	if !ok {
		return nil, nil
	}
	m := memory{usage: usage}
	m.limit, ok = d.number("memory.limit_in_bytes")
	m.limited = ok && m.limit < unlimitedV1
	m.stat = readMemoryStat(d, statKeys{"total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault"})

	var swap *runtimeapi.SwapUsage
	if both, ok := d.number("memory.memsw.usage_in_bytes"); ok { // memory and swap
		used := minus(both, usage)
		swap = &runtimeapi.SwapUsage{Timestamp: at, SwapUsageBytes: value(used)}
		if limit, ok := d.number("memory.memsw.limit_in_bytes"); ok && limit < unlimitedV1 && m.limited {
			swap.SwapAvailableBytes = value(minus(minus(limit, m.limit), used))
		}
	}
	return m.usageAt(at), swap
}

// memory is what both versions of cgroups tell about memory, in bytes.
type memory struct {
	usage, limit uint64
	limited      bool
	stat         memoryStat
}

// memoryStat is the part of memory.stat that is wanted; nil is not known.
type memoryStat struct{ inactiveFile, rss, faults, majorFaults *runtimeapi.UInt64Value }

// statKeys are the names of its fields in the file.
type statKeys struct{ inactiveFile, rss, faults, majorFaults string }

func readMemoryStat(d dir, keys statKeys) (s memoryStat) {
	content, _ := d.read("memory.stat")
	for key, n := range fields(content) {
		switch key {
		case keys.inactiveFile:
			s.inactiveFile = value(n)
		case keys.rss:
			s.rss = value(n)
		case keys.faults:
			s.faults = value(n)
		case keys.majorFaults:
			s.majorFaults = value(n)
		}
	}
	return s
}

// usageAt derives the working set as the kubelet's eviction does: what is used
// but for files that were not read lately.
func (m memory) usageAt(at int64) *runtimeapi.MemoryUsage {
	u := &runtimeapi.MemoryUsage{
		Timestamp:       at,
		UsageBytes:      value(m.usage),
		RssBytes:        m.stat.rss,
		PageFaults:      m.stat.faults,
		MajorPageFaults: m.stat.majorFaults,
	}
	if m.stat.inactiveFile == nil {
		return u
	}
	u.WorkingSetBytes = value(minus(m.usage, m.stat.inactiveFile.Value))
	if m.limited {
		u.AvailableBytes = value(minus(m.limit, u.WorkingSetBytes.Value))
	}
	return u
}

func processes(d dir, at int64) *runtimeapi.ProcessUsage {
	n, ok := d.number("pids.current")
	if !ok {
		return nil
	}
	return &runtimeapi.ProcessUsage{Timestamp: at, ProcessCount: value(n)}
}

// pressure reads a file of pressure stall information (PSI): lines such as
// "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", percent and microseconds.
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
		n, _ := strconv.ParseFloat(string(text), 64)
		switch string(key) {
		case "avg10":
			data.Avg10 = n
		case "avg60":
			data.Avg60 = n
		case "avg300":
			data.Avg300 = n
		case "total":
			microseconds, _ := number(text)
			data.Total = microseconds * uint64(time.Microsecond)
		}
	}
	return data
}

func value(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }

// minus is a − b, but never below 0: the two were not read at the same time.
func minus(a, b uint64) uint64 { return a - min(a, b) }
