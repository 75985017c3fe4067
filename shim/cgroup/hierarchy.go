// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// isUnified tells whether the machine has cgroup v2 alone. One that has both
// keeps its controllers in v1.
func isUnified() bool {
	var fs unix.Statfs_t
	return unix.Statfs(mountpoint, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// SystemdRuns reports whether systemd is the init of the machine, see sd_booted(3).
func SystemdRuns() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// pathsOf returns where a process is, by controller; on v2 under "".
func pathsOf(pid int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	paths := parsePaths(string(data), isUnified())
	for controller, path := range paths {
		if _, err := os.Stat(filepath.Join(mountpoint, controller, path)); err != nil {
			paths[controller] = below(controller, path)
		}
	}
	return paths, nil
}

// parsePaths reads lines of "number:controllers:path", see cgroups(7).
func parsePaths(data string, unified bool) map[string]string {
	paths := make(map[string]string)
	for line := range strings.Lines(data) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			if name == "" && unified || name != "" && !unified && slices.Contains(controllers[:], name) {
				paths[name] = path
			}
		}
	}
	return paths
}

// below returns a path that the kernel gives from the root of a hierarchy as
// it is below the mount point. They differ in a container that has only its
// part of the hierarchy mounted.
func below(controller, path string) string {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != filepath.Join(mountpoint, controller), false
	})
	if err != nil || len(mounts) == 0 {
		return path
	}
	rel, err := filepath.Rel(mounts[len(mounts)-1].Root, path)
	if err != nil {
		return path
	}
	return filepath.Join("/", rel)
}

// EnableControllers makes every controller of the host available to the group
// (v2; containerd-shim-runc-v2 does the same), so that Stats is complete.
func (g *Group) EnableControllers() error {
	dir, ok := g.unified()
	if !ok {
		return nil
	}
	all, err := os.ReadFile(filepath.Join(g.mount(), "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("control group: enable controllers: %w", err)
	}
	controllers := strings.Fields(string(all))
	// From the root down to the group above; which of them refuses does not
	// matter if the last does not.
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
		return fmt.Errorf("control group: enable controllers: %w", err)
	}
	return nil
}

// enable makes controllers available to the groups in a directory: all of them, or
// those that can be had.
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

// Join moves a process into the existing group at a path below the mount
// point, in every hierarchy that has it.
func Join(path string, pid int) error {
	if err := join(mountpoint, path, pid); err != nil {
		return fmt.Errorf("join control group %s: %w", path, err)
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
			if h.IsDir() { // the others are links to them
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
