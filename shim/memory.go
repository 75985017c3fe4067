// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gcPercent makes the collector start at 2 MiB instead of 4. A shim that has
	// started a pod is at 1 MiB, and most never collect, which saves another
	// 1.5 MiB: what the collector keeps for itself once it has run.
	gcPercent = 50

	// calm is the time between a collection, which means that there was
	// something to do, and giving back what it freed.
	calm = 10 * time.Second
)

// returnMemory calls free some time after each collection of garbage, until ctx
// ends. Between two there is nothing to give back, so nothing wakes up.
func returnMemory(ctx context.Context, calm time.Duration, free func()) {
	for {
		collected := make(chan struct{})
		runtime.AddCleanup(new([64]byte), func(c chan struct{}) { close(c) }, collected)
		select {
		case <-collected:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(calm):
			free()
		case <-ctx.Done():
			return
		}
	}
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
