// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// BenchmarkPodMetrics measures one list of the metrics of 100 pods with two containers each.
func BenchmarkPodMetrics(b *testing.B) {
	c, pods, members := fullNode(b)
	benchmarkList(b, pods, func(p *pod.Record) bool {
		return len(c.PodMetrics(p, members[p.ID]).ContainerMetrics) == 2
	})
}

// BenchmarkPodStats measures one list of the statistics of 100 pods with two containers each.
func BenchmarkPodStats(b *testing.B) {
	c, pods, members := fullNode(b)
	benchmarkList(b, pods, func(p *pod.Record) bool {
		return len(c.PodStats(p, members[p.ID]).Linux.Containers) == 2
	})
}

// fullNode returns the records of 100 pods with two containers each.
func fullNode(b *testing.B) (*Collector, []*pod.Record, map[string][]*container.Record) {
	b.Helper()
	machine := machineV2.with(hardware)
	var pods []*pod.Record
	members := map[string][]*container.Record{}
	for i := range 100 {
		parent := fmt.Sprintf("/kubepods/pod%d", i)
		machine = machine.with(cgroupV2.below("sys/fs/cgroup" + parent))
		p := newPod(parent)
		p.ID = fmt.Sprint("pod", i)
		for j := range 2 {
			r := measuredContainer(fmt.Sprint(p.ID, "-", j))
			r.Cgroup = fmt.Sprintf("%s/%d", parent, j)
			machine = machine.with(cgroupV2.below("sys/fs/cgroup" + r.Cgroup))
			members[p.ID] = append(members[p.ID], r)
		}
		pods = append(pods, p)
	}
	return NewCollector(machine.reader(b), fakeLayers{}, Rates{}), pods, members
}

func benchmarkList(b *testing.B, pods []*pod.Record, measure func(*pod.Record) bool) {
	b.Helper()
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		for _, p := range pods {
			if !measure(p) {
				b.Fatalf("pod %s lacks containers", p.ID)
			}
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) int64 {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
