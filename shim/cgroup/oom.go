// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
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
	counter string // a file of "key number" lines with the key oom_kill
	above   string // that of the slice, "" for a group that nobody takes away early
	notify  func()
	events  *os.File // nil if there are no announcements
	deaf    error    // why
	done    chan struct{}

	mu        sync.Mutex // guards what is below, and makes notify happen once per kill
	seen      uint64
	seenAbove uint64 // never of after seen
	told      bool
}

// WatchOOM calls notify, which must not block, once the kernel has killed a
// process of the group for want of memory. Kills before the call do not count.
// Without announcements, see Deaf, it does so in the calls of Check and CheckEnd
// only. The error is errdefs.ErrNotFound without a memory controller.
func (g *Group) WatchOOM(notify func()) (*OOMWatch, error) {
	dir, err := g.dir("memory")
	if err != nil {
		return nil, err
	}
	w := &OOMWatch{notify: notify, done: make(chan struct{})}
	open := openEventfd
	w.counter = filepath.Join(dir, "memory.oom_control")
	if _, v2 := g.unified(); v2 {
		open = openInotify
		w.counter = filepath.Join(dir, "memory.events")
	}
	if w.events, w.deaf = open(w.counter); w.deaf == nil {
		w.watchAbove(g)
	}
	if w.seen, err = readKey(w.counter, oomKill); err != nil {
		_ = w.events.Close()
		return nil, fmt.Errorf("watch out-of-memory kills: %w", err)
	}
	go w.run() // which ends at once if there is nothing to read
	return w, nil
}

// Deaf tells why there are no announcements, nil if there are. A user has 128
// instances of inotify (fs.inotify.max_user_instances), and all shims are root.
func (w *OOMWatch) Deaf() error { return w.deaf }

const oomKill = "oom_kill"

// watchAbove adds the counter of the slice that the group's scope is in.
func (w *OOMWatch) watchAbove(g *Group) {
	slice, ok := g.slice()
	if !ok {
		return
	}
	above := filepath.Join(slice, filepath.Base(w.counter))
	kills, err := readKey(above, oomKill)
	if err != nil || addInotify(w.events, above) != nil {
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

// Close ends the watch. notify is not running and not called after it.
func (w *OOMWatch) Close() {
	_ = w.events.Close()
	<-w.done
}

func (w *OOMWatch) run() {
	defer close(w.done)
	// Large enough for an inotify event, and for an eventfd's eight bytes.
	buf := make([]byte, 16*unix.SizeofInotifyEvent)
	for {
		if _, err := w.events.Read(buf); err != nil {
			return
		}
		w.Check()
	}
}

// openInotify announces changes of memory.events (kernel documentation,
// cgroup-v2.rst: the file generates a modified event when a value changes).
func openInotify(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	events := os.NewFile(uintptr(fd), "memory.events")
	if err := addInotify(events, path); err != nil {
		_ = events.Close()
		return nil, err
	}
	return events, nil
}

func addInotify(events *os.File, path string) error {
	conn, err := events.SyscallConn()
	if err != nil {
		return fmt.Errorf("inotify %s: %w", path, err)
	}
	var added error
	err = conn.Control(func(fd uintptr) { _, added = unix.InotifyAddWatch(int(fd), path, unix.IN_MODIFY) })
	if err == nil {
		err = added
	}
	if err != nil {
		return fmt.Errorf("inotify %s: %w", path, err)
	}
	return nil
}

// openEventfd announces out-of-memory conditions of a v1 group (kernel
// documentation, cgroup-v1/memory.rst section 10).
func openEventfd(path string) (*os.File, error) {
	control, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	register := fmt.Sprintf("%d %d", fd, control.Fd())
	if err := write(filepath.Join(filepath.Dir(path), "cgroup.event_control"), register); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "memory.oom_control"), nil
}
