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

// Announcer tells watches of v2 that their counters have changed. It has one
// instance of inotify for all of them: a user has 128 (fs.inotify.max_user_instances),
// and all shims of a node are root. The instance is there while there is a watch;
// the zero value is ready. Its lock is never held while a watch is told.
type Announcer struct {
	mu     sync.Mutex
	events *os.File              // nil while nobody watches
	files  map[int32][]*OOMWatch // by watch descriptor
}

// add lets a watch hear of changes of a file (kernel documentation, cgroup-v2.rst:
// memory.events generates a modified event when a value changes).
func (a *Announcer) add(path string, w *OOMWatch) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openLocked(); err != nil {
		return err
	}
	var added error
	var file int
	err := control(a.events, func(fd int) { file, added = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY) })
	if err := errors.Join(err, added); err != nil {
		a.closeUnusedLocked()
		return fmt.Errorf("inotify %s: %w", path, err)
	}
	a.files[int32(file)] = append(a.files[int32(file)], w) // the same for the same file
	return nil
}

// remove lets a watch hear nothing more.
func (a *Announcer) remove(w *OOMWatch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for file, watches := range a.files {
		watches = slices.DeleteFunc(watches, func(other *OOMWatch) bool { return other == w })
		if a.files[file] = watches; len(watches) > 0 {
			continue
		}
		delete(a.files, file)
		// It may have gone with the file.
		_ = control(a.events, func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(file)) })
	}
	a.closeUnusedLocked()
}

func (a *Announcer) openLocked() error {
	if a.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	a.events, a.files = os.NewFile(uintptr(fd), "inotify"), map[int32][]*OOMWatch{}
	events := a.events
	go guard.Catch(context.Background(), "announcements of out-of-memory kills", func() { a.run(events) }, func(error) { a.giveUp(events) })()
	return nil
}

// giveUp ends an instance. Its watches hear nothing more; those to come get another.
func (a *Announcer) giveUp(events *os.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = events.Close()
	if a.events == events {
		a.events, a.files = nil, nil
	}
}

func (a *Announcer) closeUnusedLocked() {
	if len(a.files) == 0 && a.events != nil {
		_ = a.events.Close()
		a.events = nil
	}
}

// run tells watches of what is announced, until the instance is closed.
func (a *Announcer) run(events *os.File) {
	buf := make([]byte, 16*unix.SizeofInotifyEvent) // the name of a file is in events of its folder only
	for {
		n, err := events.Read(buf)
		if err != nil {
			return
		}
		for _, w := range a.told(events, buf[:n]) {
			w.announced()
		}
	}
}

// told returns the watches that events are for, each once.
func (a *Announcer) told(events *os.File, buf []byte) []*OOMWatch {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.events != events {
		return nil // closed, and perhaps opened anew
	}
	watches := map[*OOMWatch]struct{}{}
	for ; len(buf) >= unix.SizeofInotifyEvent; buf = buf[unix.SizeofInotifyEvent:] {
		file, mask := binary.NativeEndian.Uint32(buf), binary.NativeEndian.Uint32(buf[4:]) // inotify(7)
		files := [][]*OOMWatch{a.files[int32(file)]}
		if mask&unix.IN_Q_OVERFLOW != 0 {
			files = slices.Collect(maps.Values(a.files))
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

// openEventfd announces out-of-memory conditions of a v1 group (kernel
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
