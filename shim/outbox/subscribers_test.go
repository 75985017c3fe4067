// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"testing"
	"time"
)

func TestUnsettled(t *testing.T) {
	away := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	after := func(d time.Duration) time.Time { return away.Add(d) }
	o := New("ns", "")
	for _, tt := range []struct {
		name      string
		back, now time.Time
		want      time.Duration
	}{
		{"was not restarted", after(-time.Hour), after(time.Hour), 0},
		{"is just back", after(time.Second), after(time.Second), minSettle},
		{"has been back for a while", after(time.Second), after(3 * time.Second), minSettle - 2*time.Second},
		{"is back for longer", after(time.Second), after(time.Minute), -54 * time.Second},
		{"was away for longer", after(20 * time.Second), after(21 * time.Second), 19 * time.Second},
		{"was away for hours", after(time.Hour), after(time.Hour), maxSettle},
		{"the clock was set back", after(time.Hour), after(-time.Hour), maxSettle},
	} {
		if got := o.unsettled(away, tt.back, tt.now); got != tt.want {
			t.Errorf("containerd %s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What happened while containerd was away, and soon after, comes when its subscribers can be back.
func TestSubscribersAreWaitedFor(t *testing.T) {
	const settle = 500 * time.Millisecond
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	o := newOutbox(t, c.path)
	o.minSettle = settle
	c.start(t)
	put(o, 0, 1)
	expect(t, c.got, 0, 1)
	c.stop()
	o.Disconnected()
	put(o, 1, 2)
	back := time.Now()
	c.start(t)
	put(o, 2, 3)
	expect(t, c.got, 1, 2)
	if got := time.Since(back); got < settle {
		t.Errorf("the first event came %s after the start of containerd, want not before %s", got, settle)
	}
	expect(t, c.got, 2, 3)
}

// A shim that ends does not wait for subscribers.
func TestFlushDoesNotSettle(t *testing.T) {
	c := &containerd{path: socket(t), got: make(chan string, 100)}
	o := newOutbox(t, c.path)
	o.minSettle = maxSettle
	o.Disconnected()
	c.start(t)
	put(o, 0, 1)
	if err := o.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, c.got, 0, 1)
	if got := time.Since(o.away); got >= maxSettle {
		t.Errorf("flushed after %s", got)
	}
}
