// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWatchMemory(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	limited, freed := make(chan struct{}), make(chan bool)
	var running sync.WaitGroup
	running.Go(func() {
		watchMemory(ctx, 0, func() { limited <- struct{}{} }, func(collected bool) { freed <- collected })
	})
	if collected := <-freed; collected {
		t.Error("the heap is released before the first collection")
	}
	for range 3 {
		collectUntil(limited)
		if collected := <-freed; !collected {
			t.Error("the heap is not released after a collection")
		}
	}
	stop()
	running.Wait()
}

// collectUntil collects garbage until a value arrives: the first collection may run before
// watchMemory waits for it.
func collectUntil(limited <-chan struct{}) {
	for {
		runtime.GC()
		select {
		case <-limited:
			return
		default:
		}
	}
}

// TestMemoryOfBusyShim checks that a shim that is never idle takes little more than the headroom
// above the memory in use.
func TestMemoryOfBusyShim(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { watchMemory(ctx, time.Hour, limitMemory, release) })
	debug.FreeOSMemory()
	limitMemory()
	before := inUse()
	for range 32 << 10 {
		garbage = make([]byte, 64<<10)
	}
	garbage = nil
	// On a busy host more garbage may accumulate before the limit is set. The limit must not keep
	// growing.
	if grown := debug.SetMemoryLimit(-1) - before; grown > 8*headroom {
		t.Errorf("after 2 GiB of garbage the limit is %d KiB above the memory in use", grown>>10)
	}
	stop()
	running.Wait()
}

// garbage keeps the compiler from optimizing a test's allocations away.
var garbage []byte

func TestGarbageIsNotInUse(t *testing.T) {
	debug.FreeOSMemory()
	before := inUse()
	block := make([]byte, 64<<20)
	runtime.GC()
	if grown := inUse() - before; grown < 60<<20 {
		t.Errorf("64 MiB allocated, and %d bytes more are in use", grown)
	}
	runtime.KeepAlive(block)
	runtime.GC() // the heap keeps the memory
	if grown := inUse() - before; grown > 4<<20 {
		t.Errorf("64 MiB are garbage, and %d bytes more are in use", grown)
	}
}

func TestUnmodifiedMappings(t *testing.T) {
	const smaps = `00400000-00956000 r-xp 00000000 fe:00 17 /usr/bin/my shim
Rss:                1152 kB
Anonymous:             0 kB
00956000-00fdc000 r--p 00556000 fe:00 17 /usr/bin/my shim
Anonymous:             0 kB
00fdc000-01054000 rw-p 00bdc000 fe:00 17 /usr/bin/my shim
Anonymous:             0 kB
02000000-02001000 r--p 00bdd000 fe:00 17 /usr/bin/my shim
Anonymous:             4 kB
03000000-03001000 r--p 00000000 fe:00 18 /usr/bin/shim
Anonymous:             0 kB
7f2526609000-7f252668b000 r--p 00000000 00:00 0
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
`
	want := []mapping{{0x400000, 0x956000}, {0x956000, 0xfdc000}}
	if diff := cmp.Diff(want, unmodified(strings.NewReader(smaps), "/usr/bin/my shim"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}

// TestReleaseLowersTheLimit checks that released memory does not count for the limit any more.
func TestReleaseLowersTheLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	garbage = make([]byte, 64<<20)
	runtime.GC() // completes a running collection: inUse is exact only after one
	limitMemory()
	high := debug.SetMemoryLimit(-1)
	garbage = nil
	release(true)
	if fell := high - debug.SetMemoryLimit(-1); fell < 60<<20 {
		t.Errorf("64 MiB were released, and the limit is %d KiB lower", fell>>10)
	}
}

// TestRelease checks that release unmaps pages of the binary and that the process continues: pages
// that it uses are mapped again.
func TestRelease(t *testing.T) {
	mapped := func() (kib int) {
		t.Helper()
		data, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(data), "RssFile:")
		if _, err := fmt.Sscan(line, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := mapped()
	release(true)
	if after := mapped(); after >= before {
		t.Errorf("%d KiB of files are mapped, %d before release", after, before)
	}
}
