// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/memory"
)

const (
	// headroom is the memory in bytes that the shim may allocate before the next garbage
	// collection. The Go runtime leaves 1 MiB of it unused. The start of a pod needs less, so most
	// shims never collect. A first collection costs another 1.4 MiB that the collector keeps for
	// itself.
	headroom = 4 << 20

	// initialLimit is the memory limit before the first collection, in bytes. A shim uses nearly 5
	// MiB of it at startup; measuring that would cost 33 KiB.
	initialLimit = 9 << 20

	// idleTime is the time since the last collection or the last new task after which memory is
	// released. It is longer than the outbox keeps its connection: to close it takes a quarter of
	// the pages of the binary.
	idleTime = 15 * time.Second
)

// boundMemory bounds the memory that the shim takes from the system, until ctx ends. created gets a
// value for each new task. Only the memory limit triggers the collector: with a percentage it would
// also run every two minutes in an idle shim.
func boundMemory(ctx context.Context, created <-chan struct{}) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(initialLimit)
	memory.Watch(ctx, idleTime, created, limitMemory, release)
}

// limitMemory sets the memory limit to headroom above the memory in use. Free memory that the heap
// still holds does not count: the limit of a shim that is never idle would grow with each
// collection.
func limitMemory() { debug.SetMemoryLimit(inUse() + headroom) }

// inUse returns how much memory in use counts for the memory limit, in bytes
// (debug.SetMemoryLimit). Garbage that is not swept yet does not count.
func inUse() int64 {
	// runtime.ReadMemStats reports the same, but leaves 0.5 MiB of garbage.
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	bytes := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	total, released, free, objects, live := bytes(0), bytes(1), bytes(2), bytes(3), bytes(4)
	if live == 0 { // no collection yet
		live = objects
	}
	return total - released - free - objects + live
}

// release returns the pages of the binary to the system. After the first collection, it also
// returns unused heap memory and lowers the memory limit. Before it, debug.FreeOSMemory would not
// pay: the collector would take more memory for itself than it frees.
func release(collected bool) {
	if collected {
		debug.FreeOSMemory()
		limitMemory()
	}
	memory.ReleaseBinary()
}
