// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkExec runs a process in turn with and without the runtime, and reports the processor time
// of all that a process needs, and the time until it has ended.
func BenchmarkExec(b *testing.B) {
	n := newNode(b)
	spec := n.spec("bench")
	box := n.run(b, "bench", spec)
	must(b, box.unfit)
	p := process(spec, "/bin/true")
	var cpu, wall [2]time.Duration
	for b.Loop() {
		for i, start := range []starter{slow, fast} {
			before, began := processorTime(b), time.Now()
			if _, status, err := box.exec(b, start, p); err != nil || status != 0 {
				b.Fatal(status, err)
			}
			wall[i] += time.Since(began)
			cpu[i] += processorTime(b) - before
		}
	}
	for i, name := range []string{"runtime", "fast"} {
		b.ReportMetric(float64(cpu[i].Microseconds())/1000/float64(b.N), name+"-cpu-ms/op")
		b.ReportMetric(float64(wall[i].Microseconds())/1000/float64(b.N), name+"-wall-ms/op")
	}
}

// processorTime returns the processor time of this process and its children.
func processorTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		must(b, unix.Getrusage(who, &usage))
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return sum
}
