// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// BenchmarkPodMetrics is one list of 100 pods with two containers each.
func BenchmarkPodMetrics(b *testing.B) {
	machine := machineV2.with(hardware)
	var pods []*pod.Record
	members := map[string][]*container.Record{}
	for i := range 100 {
		parent := fmt.Sprintf("/kubepods/pod%d", i)
		machine = machine.with(cgroupV2.below("sys/fs/cgroup" + parent))
		p := newPod(parent)
		p.ID = fmt.Sprint("pod", i)
		for j := range 2 {
			r := measured(fmt.Sprint(p.ID, "-", j))
			r.Cgroup = fmt.Sprintf("%s/%d", parent, j)
			machine = machine.with(cgroupV2.below("sys/fs/cgroup" + r.Cgroup))
			members[p.ID] = append(members[p.ID], r)
		}
		pods = append(pods, p)
	}
	c := NewCollector(machine.reader(b), fakeLayers{}, Rates{})
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		for _, p := range pods {
			if got := c.PodMetrics(p, members[p.ID]); len(got.ContainerMetrics) != 2 {
				b.Fatal("no metrics")
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
