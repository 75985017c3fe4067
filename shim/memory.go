// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"runtime"
	"time"
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
