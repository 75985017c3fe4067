// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

func TestReturnMemory(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	freed := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { returnMemory(ctx, 0, func() { freed <- struct{}{} }) })
	for range 3 {
		collectUntil(freed)
	}
	stop()
	running.Wait()
}

// collectUntil collects garbage until told: the first collection can come
// before returnMemory waits for one.
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
