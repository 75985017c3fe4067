// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
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
// were (docs/decisions/0022).
func (r *Runtime) DeleteDirectly(id string) bool {
	if !r.isRunc() {
		return false
	}
	dir := filepath.Join(r.cli.Root, id)
	s, err := readState(dir)
	if err != nil || !s.simple() {
		return false
	}
	for _, path := range s.CgroupPaths {
		if removeCgroup(path) != nil {
			return false
		}
	}
	// Last: runc knows a container by this directory.
	return os.RemoveAll(dir) == nil
}

// state is the part of runc's state file (libcontainer, State) that says what a container has
// beside its processes.
type state struct {
	CgroupPaths map[string]string `json:"cgroup_paths"` // by controller
	Rootless    bool              `json:"rootless"`
	Config      struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
		Cgroups struct {
			Systemd bool `json:"Systemd"`
		} `json:"cgroups"`
		Hooks           map[string]json.RawMessage `json:"Hooks"`
		IntelRdt        json.RawMessage            `json:"intel_rdt"`
		RootlessEUID    bool                       `json:"rootless_euid"`
		RootlessCgroups bool                       `json:"rootless_cgroups"`
	} `json:"config"`
}

func readState(dir string) (*state, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	s := &state{}
	return s, json.Unmarshal(data, s)
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
