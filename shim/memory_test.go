// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/memory"
)

// TestMemoryOfBusyShim checks that a shim that is never idle takes little more than the headroom
// above the memory in use.
func TestMemoryOfBusyShim(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { memory.Watch(ctx, time.Hour, nil, limitMemory, release) })
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
