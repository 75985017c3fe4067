// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"os"
	"time"
)

// The subscribers of a containerd that was restarted come back after it does, and miss what it
// publishes before: dockerd never learns of an end then. They try again at intervals that grow with
// the time for which containerd was away (gRPC's connection backoff: a second, growing by 1.6, and
// for dockerd a minute at most; each may be a fifth longer).
const (
	minSettle = 5 * time.Second
	maxSettle = 75 * time.Second

	// tick is by how much the time of a file can lag behind the clock.
	tick = 10 * time.Millisecond
)

// Disconnected says that the last connection of containerd was closed. That is how its end is seen.
func (o *Outbox) Disconnected() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = time.Now()
}

// settle waits until the subscribers of containerd are back, should it have been restarted. It
// returns false if ctx ended.
func (o *Outbox) settle(ctx context.Context) bool {
	o.mu.Lock()
	away := o.away
	o.mu.Unlock()
	if away.IsZero() {
		return true
	}
	// The socket is made when containerd begins to serve. Without it there is nothing to wait for.
	socket, err := os.Lstat(o.sender.path)
	if err != nil {
		return true
	}
	timer := time.NewTimer(o.unsettled(away, socket.ModTime(), time.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-o.hurry:
		return true
	case <-ctx.Done():
		return false
	}
}

// unsettled returns for how long after now the subscribers of a containerd that is back may stay
// away: as long as it was itself, within limits.
func (o *Outbox) unsettled(away, back, now time.Time) time.Duration {
	gone := back.Sub(away)
	if gone < -tick {
		return 0 // not restarted since
	}
	rest := back.Add(min(max(gone, o.minSettle), maxSettle)).Sub(now)
	return min(rest, maxSettle) // also when the clock was set back
}
