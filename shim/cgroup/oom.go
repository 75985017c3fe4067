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

// OOMWatch reports the out-of-memory kills in a group, each once, and those of v2
// in the groups below it.
//
// The kernel counts a kill before it sends the signal (mm/oom_kill.c), so who has
// seen the victim's end finds it counted, if the group is still there. A scope of
// systemd may not be: it goes with its last process, and the files that are open
// with it. Nor do announcements help, as the kernel delays those of memory.events by
// up to 10 ms (kernel/cgroup/cgroup.c) and takes them back with the group. So the
// slice above is watched, too, which counts the kills of all groups in it and stays:
// see CheckEnd.
type OOMWatch struct {
	ctx     context.Context // of what is logged
	counter string          // a file of "key number" lines with the key oom_kill
	above   string          // that of the slice, "" for a group that nobody takes away early
	notify  func()
	stop    func() // ends the announcements
	deaf    error  // why there are none

	mu        sync.Mutex // guards what is below, and makes notify happen once per kill
	closed    bool
	seen      uint64
	seenAbove uint64 // never of after seen
	told      bool
}

// WatchOOM calls notify, which must not block, once the kernel has killed a
// process of the group for want of memory. Kills before the call do not count.
// Without announcements, see Deaf, it does so in the calls of Check and CheckEnd
// only. ctx is for what is logged. The error is errdefs.ErrNotFound without a memory
// controller.
func (g *Group) WatchOOM(ctx context.Context, a *Announcer, notify func()) (*OOMWatch, error) {
	dir, err := g.dir("memory")
	if err != nil {
		return nil, err
	}
	w := &OOMWatch{ctx: context.WithoutCancel(ctx), notify: notify, stop: func() {}}
	w.mu.Lock() // announcements wait until it is known what to compare with
	defer w.mu.Unlock()
	if _, v2 := g.unified(); v2 {
		w.counter = filepath.Join(dir, "memory.events")
		w.followLocked(a, g)
	} else {
		w.counter = filepath.Join(dir, "memory.oom_control")
		w.followLegacy()
	}
	if w.seen, err = readKey(w.counter, oomKill); err != nil {
		w.stop()
		return nil, fmt.Errorf("watch out-of-memory kills: %w", err)
	}
	return w, nil
}

// Deaf tells why there are no announcements, nil if there are.
func (w *OOMWatch) Deaf() error { return w.deaf }

const oomKill = "oom_kill"

func (w *OOMWatch) followLegacy() {
	events, err := openEventfd(w.counter)
	if err != nil {
		w.deaf = err
		return
	}
	w.stop = func() { _ = events.Close() }
	go guard.Catch(w.ctx, "out-of-memory watch", func() { w.listen(events) }, nil)()
}

// followLocked hears of the counter, and of that of the slice that the group's scope is in.
func (w *OOMWatch) followLocked(a *Announcer, g *Group) {
	if w.deaf = a.add(w.counter, w); w.deaf != nil {
		return
	}
	w.stop = func() { a.remove(w) }
	slice, ok := g.slice()
	if !ok {
		return
	}
	above := filepath.Join(slice, filepath.Base(w.counter))
	kills, err := readKey(above, oomKill)
	if err != nil || a.add(above, w) != nil {
		return // the root has no such file
	}
	w.above, w.seenAbove = above, kills
}

// slice returns the directory of the slice in which the group is a scope of
// systemd, or in which crun has made it below one.
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

// Check reports a kill that the kernel has counted but not announced yet.
func (w *OOMWatch) Check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkLocked()
}

// CheckEnd is Check for when the init has ended, to be called at once. killed says
// that SIGKILL was its end: if the group is gone, and the slice has counted a kill
// since the group was last looked at, it was this one. That is some milliseconds,
// as each change in the slice is a reason to look; another group of the slice would
// have to run out of memory in them, and this one be killed for another reason.
func (w *OOMWatch) CheckEnd(killed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checkLocked() || !killed || w.told || w.above == "" {
		return
	}
	if above, err := readKey(w.above, oomKill); err == nil && above > w.seenAbove {
		w.tellLocked(w.seen + 1)
	}
}

// checkLocked returns false if there is no group to look at. The slice is looked at
// first: what is counted between the two is found in the group.
func (w *OOMWatch) checkLocked() bool {
	above := w.seenAbove
	if w.above != "" {
		if n, err := readKey(w.above, oomKill); err == nil {
			above = n
		}
	}
	kills, err := readKey(w.counter, oomKill)
	if err != nil {
		return false
	}
	w.seenAbove = above
	if kills > w.seen {
		w.tellLocked(kills)
	}
	return true
}

func (w *OOMWatch) tellLocked(kills uint64) {
	w.seen, w.told = kills, true
	w.notify()
}

// Kills returns how many kills there were, also before the watch.
func (w *OOMWatch) Kills() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Close ends the watch. notify is not running and not called after it but by Check.
func (w *OOMWatch) Close() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// announced is Check for the kernel's announcements, which may come late. A panic ends
// the announcements of this watch only.
func (w *OOMWatch) announced() {
	guard.Catch(w.ctx, "announced out-of-memory kill", func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			w.checkLocked()
		}
	}, func(error) { w.Close() })()
}

// The kernel announces on v1 that memory has run out before it chooses a process, kills it and
// counts it (mm/memcontrol.c): the counter is looked at for two seconds, at growing intervals.
const (
	firstLook = time.Millisecond
	lastLook  = time.Second
)

// listen reads the eventfd of a group of v1 until it is closed.
func (w *OOMWatch) listen(events *os.File) {
	var count [8]byte
	pause := firstLook
	for {
		_, err := events.Read(count[:])
		switch {
		case err == nil:
			pause = firstLook
		case errors.Is(err, os.ErrDeadlineExceeded):
			pause *= 2
		default:
			return
		}
		w.announced()
		next := time.Time{} // the next announcement
		if pause <= lastLook {
			next = time.Now().Add(pause)
		}
		_ = events.SetReadDeadline(next)
	}
}
