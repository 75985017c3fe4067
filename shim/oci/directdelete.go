// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// busyPasses and busyPause bound the wait for a cgroup whose last process has been reaped, but
	// is not yet removed from the cgroup by the kernel. The pause doubles with each pass.
	busyPasses = 6
	busyPause  = time.Millisecond
)

// DeleteDirectly deletes a container whose init has exited as `runc delete` does, but without
// running runc, and reports whether it did. On false the command must be called: there is more to
// do than DeleteDirectly knows, or a step was not successful. The command repeats the steps that
// were (docs/decisions/0021).
func (r *Runtime) DeleteDirectly(id string) bool {
	s, err := r.readState(id)
	if err != nil || !s.simple() {
		return false
	}
	for _, path := range s.CgroupPaths {
		if removeCgroup(path) != nil {
			return false
		}
	}
	// Last: runc knows a container by this directory.
	return os.RemoveAll(filepath.Join(r.cli.Root, id)) == nil
}

// simple reports whether only cgroups and the state directory are left of the container: it has no
// hooks, no unit of systemd, no resctrl group, and a PID namespace of its own, whose processes the
// kernel has killed with the init.
func (s *state) simple() bool {
	c := &s.Config
	return len(s.CgroupPaths) > 0 && len(c.Hooks) == 0 && len(c.IntelRdt) == 0 && !c.Cgroups.Systemd &&
		!s.Rootless && !c.RootlessEUID && !c.RootlessCgroups && s.privatePids()
}

func (s *state) privatePids() bool {
	for _, ns := range s.Config.Namespaces {
		if ns.Type == "NEWPID" {
			return ns.Path == ""
		}
	}
	return false
}

// removeCgroup removes a cgroup without children. One that does not exist is no error.
func removeCgroup(path string) error {
	pause := busyPause
	for pass := 1; ; pass++ {
		err := unix.Rmdir(path)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case err == unix.EINTR:
			continue
		case err != unix.EBUSY || pass == busyPasses || hasChildren(path):
			return err
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// hasChildren reports whether a cgroup has cgroups below it: a directory has a link from each of
// its subdirectories, beside its own two.
func hasChildren(path string) bool {
	var stat unix.Stat_t
	return unix.Stat(path, &stat) == nil && stat.Nlink > 2
}
