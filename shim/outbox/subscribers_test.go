// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"os"
	"testing"
	"time"
)

func TestSubscriberWait(t *testing.T) {
	away := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	after := func(d time.Duration) time.Time { return away.Add(d) }
	o := New("ns", "")
	for _, tt := range []struct {
		name      string
		back, now time.Time
		want      time.Duration
	}{
		{"has not restarted", after(-time.Hour), after(time.Hour), 0},
		{"has just restarted", after(time.Second), after(time.Second), minSubscriberWait},
		{"has restarted 2 s ago", after(time.Second), after(3 * time.Second), minSubscriberWait - 2*time.Second},
		{"has restarted long ago", after(time.Second), after(time.Minute), -54 * time.Second},
		{"was away for 20 s", after(20 * time.Second), after(21 * time.Second), 19 * time.Second},
		{"was away for hours", after(time.Hour), after(time.Hour), maxSubscriberWait},
		{"has restarted, and the clock was set back", after(time.Hour), after(-time.Hour), maxSubscriberWait},
	} {
		if got := o.subscriberWait(away, tt.back, tt.now); got != tt.want {
			t.Errorf("containerd %s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Events that occur while containerd is away or shortly after its restart are sent when its
// subscribers should have reconnected.
func TestEventsWaitForSubscribers(t *testing.T) {
	const wait = 500 * time.Millisecond
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	o := newOutbox(t, c.path)
	o.minSubscriberWait = wait
	c.start(t)
	put(o, 0, 1)
	expect(t, c.got, 0, 1)
	c.stop()
	o.Disconnected()
	put(o, 1, 2)
	c.start(t)
	back, err := os.Lstat(c.path)
	if err != nil {
		t.Fatal(err)
	}
	put(o, 2, 3)
	expect(t, c.got, 1, 2)
	if got := time.Since(back.ModTime()); got < wait {
		t.Errorf("the first event came %s after the start of containerd, want at least %s", got, wait)
	}
	expect(t, c.got, 2, 3)
}

// A shim that exits does not wait for subscribers.
func TestFlushDoesNotWaitForSubscribers(t *testing.T) {
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	o := newOutbox(t, c.path)
	o.minSubscriberWait = maxSubscriberWait
	o.Disconnected()
	c.start(t)
	put(o, 0, 1)
	if err := o.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, c.got, 0, 1)
	if got := time.Since(o.disconnectedAt); got >= maxSubscriberWait {
		t.Errorf("flushed after %s", got)
	}
}
