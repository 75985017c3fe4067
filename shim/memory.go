// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
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
	headroom = 3 << 20

	// calm is the time without a collection after which memory is given back.
	calm = 10 * time.Second
)

// keepMemory bounds what the shim takes from the system, until ctx ends. The
// collector is told to run by a limit alone: with a percentage it also runs
// every two minutes in a shim that has nothing to do.
func keepMemory(ctx context.Context) {
	debug.SetGCPercent(-1)
	limit := func() { debug.SetMemoryLimit(taken() + headroom) }
	watchMemory(ctx, calm, limit, free)
}

// watchMemory calls limit at first and after each collection, and free once
// there was none for some time. Between bursts of work nothing wakes up.
func watchMemory(ctx context.Context, calm time.Duration, limit, free func()) {
	quiet := time.NewTimer(calm)
	quiet.Stop() // nothing to give back yet
	defer quiet.Stop()
	limit()
	for {
		select {
		case <-collection():
			limit()
			quiet.Reset(calm)
		case <-quiet.C:
			free()
			limit()
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

// taken returns what counts for the memory limit, in bytes, see
// debug.SetMemoryLimit.
func taken() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64()) - int64(samples[1].Value.Uint64())
}

// free gives back what the heap does not need, and the pages of the binary. Of
// those most are used at a start only; the kernel keeps them in its cache and
// maps again the ones that are used next.
func free() {
	debug.FreeOSMemory()
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range unchanged(string(smaps), binary) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unchanged returns the read-only mappings of a file in which no page differs
// from the file, as they do after a relocation; see proc_pid_smaps(5).
func unchanged(smaps, file string) []mapping {
	var found []mapping
	var m mapping
	candidate := false
	for line := range strings.Lines(smaps) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"):
			first, last, _ := strings.Cut(fields[0], "-")
			start, errStart := strconv.ParseUint(first, 16, 64)
			end, errEnd := strconv.ParseUint(last, 16, 64)
			m = mapping{uintptr(start), uintptr(end)}
			candidate = errStart == nil && errEnd == nil &&
				fields[1][1] == '-' && strings.HasSuffix(line, " "+file)
		case candidate && len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0":
			found = append(found, m)
		}
	}
	return found
}
