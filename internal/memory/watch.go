// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"runtime"
	"time"
)

// Watch calls collected after each garbage collection, and idle when there was neither a collection
// nor a value in busy, which may be nil, for idleTime. The argument of idle reports whether there
// ever was a collection. A collection that one of the two functions causes does not count. Watch
// returns when ctx ends. It does not wake up an idle process.
func Watch(ctx context.Context, idleTime time.Duration, busy <-chan struct{}, collected func(), idle func(collected bool)) {
	quiet := time.NewTimer(idleTime)
	defer quiet.Stop()
	ever := false
	for {
		select {
		case <-collection():
			ever = true
			collected()
			quiet.Reset(idleTime)
		case <-busy:
			quiet.Reset(idleTime)
		case <-quiet.C:
			idle(ever)
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
