// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// OOMWatch reports out-of-memory kills in a cgroup, each once; on v2 also kills in its descendants.
//
// The kernel counts a kill before it sends the signal (mm/oom_kill.c). A caller that has seen the
// victim's exit therefore finds the kill counted, as long as the cgroup exists. A systemd scope may
// be gone: systemd removes it with its last process, and open files become unreadable.
// Notifications do not help either: the kernel delays those of memory.events by up to 10 ms
// (kernel/cgroup/cgroup.c) and drops them with the cgroup. The watch therefore also reads the
// counter of the parent slice, which persists and counts the kills of all cgroups in it, see
// CheckEnd.
type OOMWatch struct {
	ctx          context.Context // carries the log fields
	counter      string          // a file of "key number" lines with the key oom_kill
	sliceCounter string          // the counter of the slice; "" without a scope
	notify       func()
	stop         func() // ends notifications
	notifyErr    error  // why there are no notifications

	mu          sync.Mutex // guards the fields below, and is held while notify runs
	closed      bool
	seen        uint64
	seenInSlice uint64 // slice counter, never read later than seen
	reported    bool
}

// WatchOOM calls notify when the kernel has killed a process of the cgroup because memory ran out.
// notify must not block. Kills before the call do not count. If the kernel sends no notifications
// (see NotifyErr), only Check and CheckEnd call notify. ctx carries the log fields. The error is
// errdefs.ErrNotFound without a memory controller.
func (g *Group) WatchOOM(ctx context.Context, n *Notifier, notify func()) (*OOMWatch, error) {
	dir, err := g.dir("memory")
	if err != nil {
		return nil, err
	}
	w := &OOMWatch{ctx: context.WithoutCancel(ctx), notify: notify, stop: func() {}}
	w.mu.Lock() // notifications wait until seen is set
	defer w.mu.Unlock()
	if _, v2 := g.unified(); v2 {
		w.counter = filepath.Join(dir, "memory.events")
		w.subscribeLocked(n, g)
	} else {
		w.counter = filepath.Join(dir, "memory.oom_control")
		w.subscribeLegacy()
	}
	if w.seen, err = readKey(w.counter, oomKill); err != nil {
		w.stop()
		return nil, fmt.Errorf("watch out-of-memory kills: %w", err)
	}
	return w, nil
}

// NotifyErr returns why there are no notifications, or nil if there are.
func (w *OOMWatch) NotifyErr() error { return w.notifyErr }

const oomKill = "oom_kill"

func (w *OOMWatch) subscribeLegacy() {
	events, err := openEventfd(w.counter)
	if err != nil {
		w.notifyErr = err
		return
	}
	w.stop = func() { _ = events.Close() }
	go guard.Catch(w.ctx, "out-of-memory watch", func() { w.listen(events) }, nil)()
}

// subscribeLocked subscribes to the counter of the cgroup and, for a scope, to the counter of its
// slice.
func (w *OOMWatch) subscribeLocked(n *Notifier, g *Group) {
	if w.notifyErr = n.add(w.counter, w); w.notifyErr != nil {
		return
	}
	w.stop = func() { n.remove(w) }
	slice, ok := g.slice()
	if !ok {
		return
	}
	counter := filepath.Join(slice, filepath.Base(w.counter))
	kills, err := readKey(counter, oomKill)
	if err != nil || n.add(counter, w) != nil {
		return // the root cgroup has no such file
	}
	w.sliceCounter, w.seenInSlice = counter, kills
}

// slice returns the directory of the slice that has the cgroup's systemd scope. The cgroup is the
// scope itself, or the child that crun creates in a scope.
func (g *Group) slice() (string, bool) {
	dir, ok := g.unified()
	if !ok {
		return "", false
	}
	for range 2 {
		scope := strings.HasSuffix(dir, ".scope")
		if dir = filepath.Dir(dir); scope {
			return dir, true
		}
	}
	return "", false
}

// Check reports kills that the kernel has counted but not notified yet.
func (w *OOMWatch) Check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkLocked()
}

// CheckEnd is Check for an init that has just ended; killed means that SIGKILL ended it. If the
// cgroup is gone and the slice has counted a kill since the cgroup was last read, CheckEnd
// attributes that kill to this cgroup. The interval is a few milliseconds, because each change of
// the slice's counter triggers a check. The result is wrong only if in this interval another cgroup
// of the slice runs out of memory and this container gets a SIGKILL from elsewhere.
func (w *OOMWatch) CheckEnd(killed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checkLocked() || !killed || w.reported || w.sliceCounter == "" {
		return
	}
	if kills, err := readKey(w.sliceCounter, oomKill); err == nil && kills > w.seenInSlice {
		w.reportLocked(w.seen + 1)
	}
}

// checkLocked returns false if the cgroup is gone. It reads the slice's counter before that of the
// cgroup: a kill that is counted between the two reads is found in the cgroup.
func (w *OOMWatch) checkLocked() bool {
	inSlice := w.seenInSlice
	if w.sliceCounter != "" {
		if n, err := readKey(w.sliceCounter, oomKill); err == nil {
			inSlice = n
		}
	}
	kills, err := readKey(w.counter, oomKill)
	if err != nil {
		return false
	}
	w.seenInSlice = inSlice
	if kills > w.seen {
		w.reportLocked(kills)
	}
	return true
}

func (w *OOMWatch) reportLocked(kills uint64) {
	w.seen, w.reported = kills, true
	w.notify()
}

// Kills returns the number of kills, including those before the watch.
func (w *OOMWatch) Kills() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Close ends the notifications. After it returns, notify is not running, and only Check and
// CheckEnd can call it.
func (w *OOMWatch) Close() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// notified is Check for a notification of the kernel, which may come late. A panic ends the
// notifications of this watch only.
func (w *OOMWatch) notified() {
	guard.Catch(w.ctx, "out-of-memory notification", func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			w.checkLocked()
		}
	}, func(error) { w.Close() })()
}

// On v1 the kernel signals that memory has run out before it chooses a process, kills it and counts
// the kill (mm/memcontrol.c). The counter is therefore read again for two seconds, at doubling
// intervals.
const (
	firstRecheck = time.Millisecond
	lastRecheck  = time.Second
)

// listen reads the eventfd of a v1 cgroup until it is closed.
func (w *OOMWatch) listen(events *os.File) {
	var count [8]byte
	pause := firstRecheck
	for {
		_, err := events.Read(count[:])
		switch {
		case err == nil:
			pause = firstRecheck
		case errors.Is(err, os.ErrDeadlineExceeded):
			pause *= 2
		default:
			return
		}
		w.notified()
		next := time.Time{} // none: wait for the next event
		if pause <= lastRecheck {
			next = time.Now().Add(pause)
		}
		_ = events.SetReadDeadline(next)
	}
}
