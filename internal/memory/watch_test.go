// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

func TestWatch(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	limited, freed := make(chan struct{}), make(chan bool)
	var running sync.WaitGroup
	running.Go(func() {
		Watch(ctx, 0, func() { limited <- struct{}{} }, func(collected bool) { freed <- collected })
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

// collectUntil collects garbage until a value arrives: the first collection may run before Watch
// waits for it.
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
