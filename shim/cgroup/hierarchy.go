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

// isUnified reports whether the host uses cgroup v2 only. A hybrid host has its controllers in v1.
func isUnified() bool {
	var fs unix.Statfs_t
	return unix.Statfs(mountpoint, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// SystemdRuns reports whether systemd is the init of the host, see sd_booted(3).
func SystemdRuns() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// pathsOf returns the cgroup paths of a process by controller, on v2 under "".
func pathsOf(pid int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	paths := parsePaths(string(data), isUnified())
	for controller, path := range paths {
		if _, err := os.Stat(filepath.Join(mountpoint, controller, path)); err != nil {
			paths[controller] = belowMount(controller, path)
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

// belowMount converts a path that is relative to the root of a hierarchy, as the kernel reports it,
// to one that is relative to the mount point. The two differ in a container that has only a part of
// the hierarchy mounted.
func belowMount(controller, path string) string {
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
	if err := join(mountpoint, path, pid); err != nil {
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
