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
		t.Error("the heap is given back before there was a collection")
	}
	for range 3 {
		collectUntil(limited) // more may be taken at once
		if collected := <-freed; !collected {
			t.Error("the heap is not given back after a collection")
		}
	}
	stop()
	running.Wait()
}

// collectUntil collects garbage until told: the first collection can come
// before it is waited for.
func collectUntil(told <-chan struct{}) {
	for {
		runtime.GC()
		select {
		case <-told:
			return
		default:
		}
	}
}

// However much work there is without a pause, the shim takes no more than the headroom beside what
// it uses.
func TestMemoryOfAShimThatIsNeverCalm(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { watchMemory(ctx, time.Hour, limitMemory, free) })
	debug.FreeOSMemory()
	limitMemory()
	before := used()
	for range 32 << 10 {
		garbage = make([]byte, 64<<10)
	}
	garbage = nil
	// On a busy machine the limit is set when more garbage has come: what counts is that it does
	// not go on growing.
	if grown := debug.SetMemoryLimit(-1) - before; grown > 8*headroom {
		t.Errorf("after 2 GiB of garbage the limit is %d KiB above what was used", grown>>10)
	}
	stop()
	running.Wait()
}

// garbage keeps the compiler from leaving out what a test allocates.
var garbage []byte

func TestUsed(t *testing.T) {
	debug.FreeOSMemory()
	before := used()
	block := make([]byte, 64<<20)
	runtime.GC()
	if grown := used() - before; grown < 60<<20 {
		t.Errorf("64 MiB more, and %d bytes more are used", grown)
	}
	runtime.KeepAlive(block)
	runtime.GC() // which gives nothing back
	if grown := used() - before; grown > 4<<20 {
		t.Errorf("64 MiB are garbage, and %d bytes more are used", grown)
	}
}

func TestUnchanged(t *testing.T) {
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
	if diff := cmp.Diff(want, unchanged(strings.NewReader(smaps), "/usr/bin/my shim"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}

// What was given back is not taken again.
func TestFreeLowersTheLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	garbage = make([]byte, 64<<20)
	runtime.GC() // what is in use is known after a collection; the one that this began may still run
	limitMemory()
	high := debug.SetMemoryLimit(-1)
	garbage = nil
	free(true)
	if fell := high - debug.SetMemoryLimit(-1); fell < 60<<20 {
		t.Errorf("64 MiB were given back, and the limit is %d KiB lower", fell>>10)
	}
}

// A process goes on without the pages of its binary: those that it uses come
// back.
func TestFree(t *testing.T) {
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
	free(true)
	if after := mapped(); after >= before {
		t.Errorf("%d KiB of files are mapped, %d were before", after, before)
	}
}
