// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

	// idleTime is the time since the start or the last collection after which memory is released.
	idleTime = 10 * time.Second
)

// boundMemory bounds the memory that the shim takes from the system, until ctx ends. Only the
// memory limit triggers the collector: with a percentage it would also run every two minutes in an
// idle shim.
func boundMemory(ctx context.Context) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(initialLimit)
	watchMemory(ctx, idleTime, limitMemory, release)
}

// limitMemory sets the memory limit to headroom above the memory in use. Free memory that the heap
// still holds does not count: the limit of a shim that is never idle would grow with each
// collection.
func limitMemory() { debug.SetMemoryLimit(inUse() + headroom) }

// watchMemory calls limit after each collection, and release when there was none for idleTime.
// collected reports whether there ever was a collection. An idle shim is not woken up.
func watchMemory(ctx context.Context, idleTime time.Duration, limit func(), release func(collected bool)) {
	quiet := time.NewTimer(idleTime)
	defer quiet.Stop()
	collected := false
	for {
		select {
		case <-collection():
			collected = true
			limit()
			quiet.Reset(idleTime)
		case <-quiet.C:
			release(collected)
		case <-ctx.Done():
			return
		}
	}
}

// collection returns a channel that is closed after the next collection.
func collection() <-chan struct{} {
	collected := make(chan struct{})
	runtime.AddCleanup(new([64]byte), func(c chan struct{}) { close(c) }, collected)
	return collected
}

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

// release returns the pages of the binary to the system. Most of them are needed only at startup;
// the kernel keeps them in the page cache and maps the ones that are used again. After the first
// collection, release also returns unused heap memory and lowers the memory limit. Before it,
// debug.FreeOSMemory would not pay: the collector would take more memory for itself than it frees.
func release(collected bool) {
	if collected {
		debug.FreeOSMemory()
		limitMemory()
	}
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer smaps.Close()
	for _, m := range unmodified(smaps, binary) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unmodified returns the read-only mappings of a file that have no modified page; relocations
// modify pages, see proc_pid_smaps(5). It allocates little, because it runs to reduce memory.
func unmodified(smaps io.Reader, file string) []mapping {
	var found []mapping
	var m mapping
	readOnly := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case bytes.HasPrefix(line, []byte("Anonymous:")):
			if readOnly && bytes.HasSuffix(line, []byte(" 0 kB")) {
				found = append(found, m)
			}
		case bytes.HasSuffix(line, []byte(" "+file)):
			m, readOnly = parseMapping(lines.Text())
		case len(line) > 0 && (line[0] < 'A' || line[0] > 'Z'):
			readOnly = false // a mapping of another file
		}
	}
	return found
}

// parseMapping reads the first line of a mapping and reports whether the mapping is read-only.
func parseMapping(line string) (m mapping, readOnly bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	first, last, _ := strings.Cut(addresses, "-")
	start, errStart := strconv.ParseUint(first, 16, 64)
	end, errEnd := strconv.ParseUint(last, 16, 64)
	valid := errStart == nil && errEnd == nil && len(rest) > 1
	return mapping{uintptr(start), uintptr(end)}, valid && rest[1] == '-'
}
