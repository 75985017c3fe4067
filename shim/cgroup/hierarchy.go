// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

// SystemdRuns reports whether systemd is the init of the host, see sd_booted(3).
func SystemdRuns() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// EnableControllers enables all controllers of the host for the cgroup, so that Stats is complete
// (v2 only; containerd-shim-runc-v2 does the same).
func (g *Group) EnableControllers() error {
	dir, ok := g.unified()
	if !ok {
		return nil
	}
	all, err := os.ReadFile(filepath.Join(g.mount(), "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup: enable controllers: %w", err)
	}
	controllers := strings.Fields(string(all))
	// From the root down to the parent. Only the error of the parent counts: an ancestor may
	// refuse.
	parent := g.mount()
	err = enable(parent, controllers)
	rel, _ := filepath.Rel(parent, filepath.Dir(dir))
	for name := range strings.SplitSeq(rel, "/") {
		if name != "." {
			parent = filepath.Join(parent, name)
			err = enable(parent, controllers)
		}
	}
	if err != nil {
		return fmt.Errorf("cgroup: enable controllers: %w", err)
	}
	return nil
}

// enable enables controllers for the children of a cgroup: all of them, or as many as the kernel
// accepts.
func enable(dir string, controllers []string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	if write(file, "+"+strings.Join(controllers, " +")) == nil {
		return nil
	}
	var errs []error
	for _, name := range controllers {
		errs = append(errs, write(file, "+"+name))
	}
	return errors.Join(errs...)
}

// Join moves a process into the existing cgroup at a path below the mount point, in every hierarchy
// that has it.
func Join(path string, pid int) error {
	if err := join(cgroup.Root, path, pid); err != nil {
		return fmt.Errorf("join cgroup %s: %w", path, err)
	}
	return nil
}

func join(root, path string, pid int) error {
	tops := []string{root}
	if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil { // v1
		hierarchies, err := os.ReadDir(root)
		if err != nil {
			return err
		}
		tops = tops[:0]
		for _, h := range hierarchies {
			if h.IsDir() { // skips links such as cpu -> cpu,cpuacct
				tops = append(tops, filepath.Join(root, h.Name()))
			}
		}
	}
	joined := false
	for _, top := range tops {
		err := write(filepath.Join(top, filepath.Join("/", path), "cgroup.procs"), strconv.Itoa(pid))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		joined = joined || err == nil
	}
	if !joined {
		return os.ErrNotExist
	}
	return nil
}
