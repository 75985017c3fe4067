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
		Watch(ctx, 0, nil, func() { limited <- struct{}{} }, func(collected bool) { freed <- collected })
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

// A value in busy is followed by another call of idle, without a collection.
func TestWatchBusy(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	busy, freed := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { Watch(ctx, 0, busy, func() {}, func(bool) { freed <- struct{}{} }) })
	<-freed
	for range 3 {
		busy <- struct{}{}
		<-freed
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
