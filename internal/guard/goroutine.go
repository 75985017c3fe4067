// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Go runs fn in a goroutine; wg waits for the goroutine if it is not nil. A panic ends the
// goroutine. If other goroutines wait for a result of fn, fn must send it in a defer, or run its
// work in a Call of its own.
func Go(ctx context.Context, wg *sync.WaitGroup, what string, fn func()) {
	if wg == nil {
		wg = new(sync.WaitGroup)
	}
	wg.Go(func() {
		_ = Call(ctx, what, func() error { fn(); return nil }) // Call logs the panic
	})
}

// Start runs fn in a goroutine and returns a buffered channel that gets its error.
func Start(ctx context.Context, what string, fn func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- Call(ctx, what, fn) }()
	return result
}

// The pauses of Keep: work that keeps panicking is retried once a minute.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
)

// Keep runs fn, and runs it again after each panic, including one that fn returns as an error,
// until fn returns another result or ctx ends. fn must be able to start from any state that a panic
// leaves. The pause before a retry doubles, and is reset if fn has run for more than a minute.
func Keep(ctx context.Context, what string, fn func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		begun := time.Now()
		err := Call(ctx, what, fn)
		if _, panicked := errors.AsType[*Panic](err); !panicked {
			return err
		}
		if time.Since(begun) > lastPause {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}
