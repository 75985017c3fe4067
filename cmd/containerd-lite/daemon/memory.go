// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/memory"
)

// idleTime is the time since the last garbage collection after which memory is released. Pods that
// start or end cause several collections in this time, the lists of a kubelet none.
const idleTime = 10 * time.Second

// releaseWhenIdle returns memory to the system each time that the daemon has become idle. Without
// it, a daemon keeps what the start of its plugins and the busiest moment took. The returned
// function ends it.
func releaseWhenIdle(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	guard.Go(ctx, &running, "memory", func() {
		_ = guard.Keep(ctx, "release memory", func() error {
			memory.Watch(ctx, idleTime, nil, func() {}, func(bool) { release() })
			return nil
		})
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// release returns unused heap memory and the pages of the binary.
func release() {
	debug.FreeOSMemory()
	memory.ReleaseBinary()
}
