// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Go runs fn in a goroutine, which wg waits for if it is not nil. A panic ends the goroutine: what
// others wait for, fn does in a defer, or has it done by a Call of its own.
func Go(ctx context.Context, wg *sync.WaitGroup, what string, fn func()) {
	if wg == nil {
		wg = new(sync.WaitGroup)
	}
	wg.Go(func() {
		_ = Call(ctx, what, func() error { fn(); return nil }) // it is logged
	})
}

// Start runs fn in a goroutine. The channel gets its error, and holds it if it is not read.
func Start(ctx context.Context, what string, fn func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- Call(ctx, what, fn) }()
	return result
}

// The pauses of Keep: what panics for ever does so once a minute.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
)

// Keep runs fn, and again after each panic, also one that fn returns as an error, until fn returns
// without one or ctx ends. fn must be able to begin again from whatever a panic has left. It runs
// after a pause, which doubles while fn does not run for longer than a minute.
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
