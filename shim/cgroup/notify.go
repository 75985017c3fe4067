// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Notifier calls the OOMWatches of cgroup v2 when their counters change. All watches share one
// inotify instance: a user may have 128 of them (fs.inotify.max_user_instances), and all shims of a
// node run as root. The instance is open while there is a watch. The zero value is ready for use.
// The lock is not held while a watch is called.
type Notifier struct {
	mu     sync.Mutex
	events *os.File              // nil without watches
	files  map[int32][]*OOMWatch // by watch descriptor
}

// add subscribes a watch to changes of a file. The kernel generates a modified event for
// memory.events when a value in it changes (kernel documentation, cgroup-v2.rst).
func (n *Notifier) add(path string, w *OOMWatch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.openLocked(); err != nil {
		return err
	}
	var added error
	var file int
	err := control(n.events, func(fd int) { file, added = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY) })
	if err := errors.Join(err, added); err != nil {
		n.closeUnusedLocked()
		return fmt.Errorf("inotify %s: %w", path, err)
	}
	n.files[int32(file)] = append(n.files[int32(file)], w) // one descriptor per file
	return nil
}

// remove cancels all subscriptions of a watch.
func (n *Notifier) remove(w *OOMWatch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for file, watches := range n.files {
		watches = slices.DeleteFunc(watches, func(other *OOMWatch) bool { return other == w })
		if n.files[file] = watches; len(watches) > 0 {
			continue
		}
		delete(n.files, file)
		// The kernel has already removed it if the file is gone.
		_ = control(n.events, func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(file)) })
	}
	n.closeUnusedLocked()
}

func (n *Notifier) openLocked() error {
	if n.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	n.events, n.files = os.NewFile(uintptr(fd), "inotify"), map[int32][]*OOMWatch{}
	events := n.events
	go guard.Catch(context.Background(), "out-of-memory notifications", func() { n.run(events) }, func(error) { n.discard(events) })()
	return nil
}

// discard closes an inotify instance. Its watches get no more notifications; the next add opens
// another instance.
func (n *Notifier) discard(events *os.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = events.Close()
	if n.events == events {
		n.events, n.files = nil, nil
	}
}

func (n *Notifier) closeUnusedLocked() {
	if len(n.files) == 0 && n.events != nil {
		_ = n.events.Close()
		n.events = nil
	}
}

// run notifies watches of the events of an inotify instance until the instance is closed.
func (n *Notifier) run(events *os.File) {
	buf := make([]byte, 16*unix.SizeofInotifyEvent) // events of a file have no name
	for {
		size, err := events.Read(buf)
		if err != nil {
			return
		}
		for _, w := range n.watchesOf(events, buf[:size]) {
			w.notified()
		}
	}
}

// watchesOf returns the watches that the events in buf are for, each once.
func (n *Notifier) watchesOf(events *os.File, buf []byte) []*OOMWatch {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events != events {
		return nil // closed; another instance may be open
	}
	watches := map[*OOMWatch]struct{}{}
	for ; len(buf) >= unix.SizeofInotifyEvent; buf = buf[unix.SizeofInotifyEvent:] {
		file, mask := binary.NativeEndian.Uint32(buf), binary.NativeEndian.Uint32(buf[4:]) // inotify(7)
		files := [][]*OOMWatch{n.files[int32(file)]}
		if mask&unix.IN_Q_OVERFLOW != 0 {
			files = slices.Collect(maps.Values(n.files))
		}
		for _, w := range slices.Concat(files...) {
			watches[w] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(watches))
}

func control(file *os.File, f func(fd int)) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) { f(int(fd)) })
}

// openEventfd opens an eventfd that the kernel signals when a v1 cgroup is out of memory (kernel
// documentation, cgroup-v1/memory.rst section 10).
func openEventfd(path string) (*os.File, error) {
	counter, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer counter.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	register := fmt.Sprintf("%d %d", fd, counter.Fd())
	if err := write(filepath.Join(filepath.Dir(path), "cgroup.event_control"), register); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "memory.oom_control"), nil
}
