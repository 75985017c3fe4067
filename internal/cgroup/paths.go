// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Paths are the cgroups of a process by controller. The key of cgroup v2 is [Unified].
type Paths map[string]string

// PathsOf returns the cgroups of a process as paths below the mount points: with cgroup v2 its one
// cgroup, otherwise those of the given controllers.
func PathsOf(pid int, controllers []string) (Paths, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	if IsV2() {
		controllers = []string{Unified}
	}
	paths := parsePaths(string(data)).of(controllers)
	for controller, p := range paths {
		if _, err := os.Stat(filepath.Join(Root, controller, p)); err != nil {
			paths[controller] = belowMount(controller, p)
		}
	}
	return paths, nil
}

// parsePaths reads lines of "number:controllers:path", see cgroups(7).
func parsePaths(data string) Paths {
	paths := make(Paths)
	for line := range strings.Lines(data) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			paths[name] = path
		}
	}
	return paths
}

// of returns the paths of some controllers.
func (p Paths) of(controllers []string) Paths {
	some := make(Paths, len(controllers))
	for controller, path := range p {
		if slices.Contains(controllers, controller) {
			some[controller] = path
		}
	}
	return some
}

// Resolve returns the absolute path of a cgroup in the hierarchy of a controller. It resolves a
// relative path as a runc process in the cgroups p does: on v1 below its own cgroup, on v2 below
// the parent of its own cgroup, because a cgroup with processes cannot have children with
// controllers.
func (p Paths) Resolve(controller, cgroup string) string {
	base := p[controller]
	switch {
	case path.IsAbs(cgroup):
		base = ""
	case controller == Unified:
		base = path.Dir(base)
	}
	return path.Join("/", base, cgroup)
}

// belowMount converts a path that is relative to the root of a hierarchy, as the kernel reports it,
// to one that is relative to the mount point. The two differ in a container that has only a part of
// the hierarchy mounted.
func belowMount(controller, path string) string {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != filepath.Join(Root, controller), false
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
