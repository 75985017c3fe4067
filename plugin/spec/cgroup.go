// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"slices"
	"strings"
)

// defaultCgroupParent is where containerd puts containers without a cgroup_parent: a cgroup named after its namespace.
const defaultCgroupParent = "/k8s.io"

// CgroupsPath returns the cgroupsPath of a container, or of a pod's init, below a pod's cgroup_parent. A parent whose last part ends in
// .slice is a systemd slice and gives the form slice:prefix:name of the runtime spec; everything else is a path in the hierarchy.
func CgroupsPath(parent, id string) string {
	if parent == "" {
		parent = defaultCgroupParent
	}
	if slice := path.Base(parent); strings.HasSuffix(slice, ".slice") {
		return slice + ":cri-containerd:" + id
	}
	return path.Join(parent, id)
}

func (b *builder) cgroup() error {
	b.spec.Linux.CgroupsPath = CgroupsPath(b.in.Pod.Config.GetLinux().GetCgroupParent(), b.in.ID)
	return nil
}

func checkCgroupParent(parent string) error {
	const field = "linux.cgroup_parent"
	switch {
	case len(parent) >= maxPath:
		return invalid(field, "has %d bytes, Linux takes %d", len(parent), maxPath-1)
	case slices.Contains(strings.Split(parent, "/"), ".."):
		return invalid(field, "%q has a part ..", parent)
	case strings.Contains(parent, ":"):
		return invalid(field, "%q has a colon, which separates slice, prefix and name", parent)
	}
	if slice := path.Base(parent); strings.HasSuffix(slice, ".slice") && !isSlice(slice) {
		return invalid(field, "%q is not the name of a systemd slice", slice)
	}
	return checkText(field, parent)
}

// isSlice knows the names of systemd.slice(5): -.slice is the root, each dash in another name leads one level down.
func isSlice(name string) bool {
	name = strings.TrimSuffix(name, ".slice")
	return name == "-" || !slices.Contains(strings.Split(name, "-"), "")
}
