// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// OOMWatch reports the out-of-memory kills in a group, each once.
type OOMWatch struct {
	counter string // a file of "key number" lines with the key oom_kill
	notify  func()
	events  *os.File
	done    chan struct{}

	mu   sync.Mutex // guards seen, and makes notify happen once per kill
	seen uint64
}

// WatchOOM calls notify, which must not block, once the kernel has killed a
// process of the group for want of memory. Kills before the call do not count.
// The error is errdefs.ErrNotFound without a memory controller.
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
	if w.seen, err = readKey(w.counter, "oom_kill"); err != nil {
		return nil, fmt.Errorf("watch out-of-memory kills: %w", err)
	}
	if w.events, err = open(w.counter); err != nil {
		return nil, fmt.Errorf("watch out-of-memory kills: %w", err)
	}
	go w.run()
	return w, nil
}

// Check reports a kill that the kernel has counted but not announced yet.
func (w *OOMWatch) Check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	kills, err := readKey(w.counter, "oom_kill")
	if err != nil || kills <= w.seen {
		return
	}
	w.seen = kills
	w.notify()
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
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("inotify %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), "memory.events"), nil
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
