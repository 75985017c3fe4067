// SPDX-License-Identifier: Apache-2.0

package reap

import "context"

// End is the end of a process. Goroutines wait for Done, and functions are called with After. Until
// the end, a function has no goroutine, whose stack would take 3 KiB.
type End struct {
	reached context.Context
	reach   context.CancelFunc
}

// NewEnd returns an End that is not reached.
func NewEnd() End {
	reached, reach := context.WithCancel(context.Background())
	return End{reached, reach}
}

// Reached records the end.
func (e End) Reached() { e.reach() }

// Done returns a channel that is closed by Reached.
func (e End) Done() <-chan struct{} { return e.reached.Done() }

// After calls f in a goroutine of its own when the end is reached, or now if it is.
func (e End) After(f func()) { context.AfterFunc(e.reached, f) }
