// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"os"
	"time"
)

// Subscribers reconnect some time after containerd has restarted and miss the events that it
// publishes before. dockerd, for example, would never see an exit. They retry at intervals that
// grow with the time for which containerd was away (gRPC's connection backoff: one second,
// multiplied by 1.6 at each attempt, for dockerd up to one minute, with a jitter of 20 %).
const (
	minSubscriberWait = 5 * time.Second
	maxSubscriberWait = 75 * time.Second

	// mtimeLag is by how much the modification time of a file can lag behind the clock: one tick of
	// the kernel, and several on a virtual machine that is short of CPU.
	mtimeLag = 100 * time.Millisecond
)

// Disconnected records that the last connection of containerd was closed. From this the Outbox
// concludes that containerd may have exited.
func (o *Outbox) Disconnected() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.disconnectedAt = time.Now()
}

// awaitSubscribers waits until the subscribers of a restarted containerd should have reconnected.
// The error is that of ctx.
func (o *Outbox) awaitSubscribers(ctx context.Context) error {
	o.mu.Lock()
	away := o.disconnectedAt
	o.mu.Unlock()
	if away.IsZero() {
		return nil
	}
	// containerd creates the socket when it begins to serve. Without one there are no subscribers
	// to wait for.
	socket, err := os.Lstat(o.sender.path)
	if err != nil {
		return nil
	}
	timer := time.NewTimer(o.subscriberWait(away, socket.ModTime(), time.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-o.flushing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// subscriberWait returns how long to wait from now until the subscribers of a restarted containerd
// should have reconnected: after it is back they need as long as it was away, within limits.
func (o *Outbox) subscriberWait(away, back, now time.Time) time.Duration {
	gone := back.Sub(away)
	if gone < -mtimeLag {
		return 0 // containerd has not restarted since it disconnected
	}
	rest := back.Add(min(max(gone, o.minSubscriberWait), maxSubscriberWait)).Sub(now)
	return min(rest, maxSubscriberWait) // the clock may have been set back
}
