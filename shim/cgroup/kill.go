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
	// killPasses and signalPasses bound the number of passes over a cgroup whose processes keep
	// forking; pause is the time between two passes.
	killPasses   = 20
	signalPasses = 20
	pause        = 5 * time.Millisecond

	// freezePass is the pass from which the cgroup is frozen before it is killed.
	freezePass = 10

	// batchSize is the number of pidfds that are open at a time.
	batchSize = 64
)

// Pids returns the processes of the cgroup and its descendants; none if the cgroup is gone.
func (g *Group) Pids() ([]int, error) {
	dirs := g.dirs()
	if len(dirs) == 0 {
		return nil, fmt.Errorf("cgroup: %w", errdefs.ErrNotFound)
	}
	var pids []int
	err := filepath.WalkDir(dirs[0], func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() || entry.Name() != "cgroup.procs" {
			return err
		}
		// cgroup.procs of a threaded cgroup cannot be read; its domain cgroup lists its processes.
		data, _ := os.ReadFile(path)
		for line := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cgroup: list processes: %w", err)
	}
	return pids, nil
}

// Kill kills every process of the cgroup. dying means that the kernel is already doing so because
// the init of the PID namespace was killed.
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

// killEach kills processes one by one until none is left. Freezing takes up to 0.5 s on v1, so only
// a cgroup that forks faster than it is killed is frozen. With dying one pass is enough. That pass
// is needed: the namespace's init must run to kill the other processes, and these may have used up
// the CPU quota of the cgroup.
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

// Signal sends a signal once to every process of the cgroup. It does not freeze the cgroup, because
// a paused cgroup must stay paused. A later pass finds a process that was forked by a parent that
// had not got the signal yet.
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

// send sends a signal to those of the processes that are still in the cgroup. The kernel may reuse
// a PID at any time. send therefore opens the pidfds first and then lists the cgroup again: a pidfd
// that was open when its PID was listed refers to a member of the cgroup.
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

// openAll returns pidfds by PID and leaves out processes that have ended.
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

// Remove removes the cgroup and its descendants as far as they have no processes.
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

// write writes to a control file without creating it. It does not use os.File: control files can be
// polled, and Go would wait indefinitely if a write returns EAGAIN, as for memory.reclaim when the
// kernel has reclaimed less than requested.
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

// readKey returns the value of a key in a file of "key number" lines.
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
