// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const (
	// freezeTries and killPasses bound the work on a group that does not
	// settle; pause is the time between two looks at it.
	freezeTries = 100
	killPasses  = 20
	pause       = 5 * time.Millisecond
)

// Pids returns the processes of the group and of the groups below it. A group
// that is gone has none.
func (g *Group) Pids() ([]int, error) {
	dirs := g.dirs()
	if len(dirs) == 0 {
		return nil, fmt.Errorf("control group: %w", errdefs.ErrNotFound)
	}
	var pids []int
	err := filepath.WalkDir(dirs[0], func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() || entry.Name() != "cgroup.procs" {
			return err
		}
		// A threaded group below refuses to be read; the
		// domain above lists its processes.
		data, _ := os.ReadFile(path)
		for line := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("control group: list processes: %w", err)
	}
	return pids, nil
}

// Kill ends every process of the group.
func (g *Group) Kill() error {
	dir, ok := g.unified()
	if !ok {
		return g.killEach()
	}
	err := write(filepath.Join(dir, "cgroup.kill"), "1")
	if err == nil {
		return nil
	}
	if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
		return nil
	}
	return g.killEach() // before Linux 5.14
}

// killEach goes on until no process is left: one that was not frozen in time
// may have forked behind our back.
func (g *Group) killEach() error {
	for range killPasses {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := g.Signal(unix.SIGKILL); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

// Signal sends a signal to every process of the group. The group is frozen
// meanwhile, so that none can fork, or end and leave its number to a stranger.
func (g *Group) Signal(sig unix.Signal) error {
	g.freeze()
	defer g.Thaw()
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// freeze is best effort: not every host has a freezer.
func (g *Group) freeze() {
	for range freezeTries {
		if g.writeFreezer("1", "FROZEN") != nil || g.frozen() {
			return
		}
		time.Sleep(pause)
	}
}

func (g *Group) frozen() bool {
	if dir, ok := g.unified(); ok {
		n, err := readKey(filepath.Join(dir, "cgroup.events"), "frozen")
		return err == nil && n == 1
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return false
	}
	state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
	return err == nil && strings.TrimSpace(string(state)) == "FROZEN"
}

// Thaw lets the processes of a frozen group run on. Without a freezer, or
// without the group, there is nothing to do.
func (g *Group) Thaw() {
	_ = g.writeFreezer("0", "THAWED")
}

func (g *Group) writeFreezer(v2, v1 string) error {
	if dir, ok := g.unified(); ok {
		return write(filepath.Join(dir, "cgroup.freeze"), v2)
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "freezer.state"), v1)
}

// Remove removes the group, and the groups below it, as far as they are empty.
func (g *Group) Remove() {
	for _, top := range g.dirs() {
		var found []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				found = append(found, path)
			}
			return nil
		})
		for i := len(found) - 1; i >= 0; i-- {
			_ = unix.Rmdir(found[i])
		}
	}
}

// write writes to a control file, which exists or is not supported. It is no os.File:
// control files can be polled, and Go would wait for ever for one that answers EAGAIN,
// as memory.reclaim does when it has found too little.
func write(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Write(fd, []byte(value))
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
	}
}

// readKey returns the number after a key in a file of "key number" lines.
func readKey(path, key string) (uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == key {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no %q: %w", path, key, errdefs.ErrNotFound)
}
