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
	// headroom is what the shim may take until garbage is collected, in bytes.
	// The Go runtime leaves 1 MiB of it unused. The start of a pod takes less, so
	// that most shims never collect: what the collector keeps for itself once it
	// has run is another 1.4 MiB.
	headroom = 4 << 20

	// firstLimit is the memory limit until something was collected. Of it a shim uses
	// close to 5 MiB when it starts; to ask for the number would cost it 33 KiB.
	firstLimit = 9 << 20

	// calm is the time since the start, and later since a collection, after which
	// memory is given back.
	calm = 10 * time.Second
)

// keepMemory bounds what the shim takes from the system, until ctx ends. The
// collector is told to run by a limit alone: with a percentage it also runs
// every two minutes in a shim that has nothing to do.
func keepMemory(ctx context.Context) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(firstLimit)
	watchMemory(ctx, calm, limitMemory, free)
}

// limitMemory leaves headroom beside what is in use. What is only taken from the
// system must not count: a shim that is never calm would take more each time.
func limitMemory() { debug.SetMemoryLimit(used() + headroom) }

// watchMemory calls limit after each collection, and free once there was none for
// some time; collected tells whether there ever was one. Between bursts of work
// nothing wakes up.
func watchMemory(ctx context.Context, calm time.Duration, limit func(), free func(collected bool)) {
	quiet := time.NewTimer(calm)
	defer quiet.Stop()
	collected := false
	for {
		select {
		case <-collection():
			collected = true
			limit()
			quiet.Reset(calm)
		case <-quiet.C:
			free(collected)
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

// used returns what is in use of that which counts for the memory limit, in bytes
// (debug.SetMemoryLimit). Garbage that is not swept yet is not in use.
func used() int64 {
	// runtime.ReadMemStats says the same, and leaves half a MiB behind.
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
	if live == 0 { // nothing was ever collected
		live = objects
	}
	return total - released - free - objects + live
}

// free gives back the pages of the binary. Of those most are used at a start
// only; the kernel keeps them in its cache and maps again the ones that are used
// next. What the heap does not need goes back, too, and is not taken again, unless
// the collector has never run: it would keep more for itself than it frees.
func free(collected bool) {
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
	for _, m := range unchanged(smaps, binary) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unchanged returns the read-only mappings of a file in which no page differs
// from the file, as they do after a relocation; see proc_pid_smaps(5). It leaves
// little garbage: who calls it wants to have less.
func unchanged(smaps io.Reader, file string) []mapping {
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
			readOnly = false // the mapping of something else
		}
	}
	return found
}

// parseMapping reads the first line of a mapping, and tells whether it is
// read-only.
func parseMapping(line string) (m mapping, readOnly bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	first, last, _ := strings.Cut(addresses, "-")
	start, errStart := strconv.ParseUint(first, 16, 64)
	end, errEnd := strconv.ParseUint(last, 16, 64)
	valid := errStart == nil && errEnd == nil && len(rest) > 1
	return mapping{uintptr(start), uintptr(end)}, valid && rest[1] == '-'
}
