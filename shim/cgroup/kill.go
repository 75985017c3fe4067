// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const (
	// killPasses and signalPasses bound the work on a group that does not settle;
	// pause is the time between two looks at it.
	killPasses   = 20
	signalPasses = 20
	pause        = 5 * time.Millisecond

	// freezePass is the pass from which a group is frozen to be killed.
	freezePass = 10

	// batchSize is how many pidfds are open at a time.
	batchSize = 64
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

// Kill ends every process of the group. With dying the kernel does so already, as
// the init of their PID namespace was killed.
func (g *Group) Kill(dying bool) error {
	dir, ok := g.unified()
	if !ok {
		return g.killEach(dying)
	}
	err := write(filepath.Join(dir, "cgroup.kill"), "1")
	if err == nil {
		return nil
	}
	if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
		return nil
	}
	return g.killEach(dying) // before Linux 5.14
}

// killEach goes on until no process is left. A freeze takes up to half a second on
// v1: only a group that forks faster than it is killed is frozen. One look is enough
// for a group that is dying, and helps: its init must run to kill the others, which
// may have used up the group's time.
func (g *Group) killEach(dying bool) error {
	for pass := range killPasses {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if pass >= freezePass {
			g.freeze()
		}
		err = g.send(pids, unix.SIGKILL)
		g.thawAll() // on v1 a frozen process does not die
		if err != nil || dying {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

// Signal sends a signal to every process of the group, once to each. The group is
// not frozen for that: it may be paused, and must stay so. A process that was forked
// by one that had no signal yet is found by a later look.
func (g *Group) Signal(sig unix.Signal) error {
	signalled := map[int]bool{}
	for range signalPasses {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return signalled[pid] })
		if len(pids) == 0 {
			return nil
		}
		if err := g.send(pids, sig); err != nil {
			return err
		}
		for _, pid := range pids {
			signalled[pid] = true
		}
	}
	return nil
}

// send sends a signal to those of the processes that are still in the group. Their
// numbers may pass to strangers at any time. The process of a pidfd that was open
// while its number was read in the group, and that takes a signal later, is the one
// that was there.
func (g *Group) send(pids []int, sig unix.Signal) error {
	var errs []error
	for batch := range slices.Chunk(pids, batchSize) {
		opened, err := openAll(batch)
		if err == nil {
			err = g.sendOpened(opened, sig)
		}
		errs = append(errs, err)
		for _, pidfd := range opened {
			_ = unix.Close(pidfd)
		}
	}
	return errors.Join(errs...)
}

func (g *Group) sendOpened(opened map[int]int, sig unix.Signal) error {
	members, err := g.Pids()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range members {
		pidfd, ok := opened[pid]
		if !ok {
			continue
		}
		if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// openAll returns pidfds by number, of the processes that are there.
func openAll(pids []int) (map[int]int, error) {
	opened := make(map[int]int, len(pids))
	for _, pid := range pids {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil && err != unix.ESRCH {
			return opened, fmt.Errorf("process %d: open pidfd: %w", pid, err)
		}
		if err == nil {
			opened[pid] = pidfd
		}
	}
	return opened, nil
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
