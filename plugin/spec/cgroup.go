// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// defaultCgroupParent is where containerd puts containers without a cgroup_parent: a cgroup
	// named after its namespace.
	defaultCgroupParent = "/k8s.io"
	// defaultSlice is where they are with the systemd driver, whose runtimes take nothing but
	// slices. It is runc's own default.
	defaultSlice = "system.slice"

	sliceSuffix = ".slice"
)

// CgroupsPath returns the cgroupsPath of a container, or of a pod's task, below a pod's
// cgroup_parent. A parent whose last part ends in .slice is a systemd slice and gives the form
// slice:prefix:name of the runtime spec; everything else is a path in the hierarchy. systemd tells
// whether a pod without a parent is below a slice, too.
func CgroupsPath(parent, id string, systemd bool) string {
	switch {
	case parent == "" && systemd:
		parent = defaultSlice
	case parent == "":
		parent = defaultCgroupParent
	}
	if slice := path.Base(parent); strings.HasSuffix(slice, sliceSuffix) {
		return slice + ":cri-containerd:" + id
	}
	return path.Join(parent, id)
}

func (b *builder) cgroup() (err error) {
	b.spec.Linux.CgroupsPath, err = b.in.Handler.cgroupsPath(b.in.Pod.Config, b.in.ID)
	return err
}

// cgroupsPath is CgroupsPath for a handler. With the systemd driver a parent that is no slice is
// refused here, where the error can name the field; the runtimes refuse what comes of it.
func (h Handler) cgroupsPath(pod *runtimeapi.PodSandboxConfig, id string) (string, error) {
	parent := pod.GetLinux().GetCgroupParent()
	if h.SystemdCgroup && parent != "" && !strings.HasSuffix(path.Base(parent), sliceSuffix) {
		return "", invalid("linux.cgroup_parent", "%q is not a systemd slice, and the runtime handler has SystemdCgroup = true", parent)
	}
	return CgroupsPath(parent, id, h.SystemdCgroup), nil
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
	if slice := path.Base(parent); strings.HasSuffix(slice, sliceSuffix) && !isSlice(slice) {
		return invalid(field, "%q is not the name of a systemd slice", slice)
	}
	return checkText(field, parent)
}

// isSlice knows the names of systemd.slice(5): -.slice is the root, each dash in another name leads
// one level down.
func isSlice(name string) bool {
	name = strings.TrimSuffix(name, sliceSuffix)
	return name == "-" || !slices.Contains(strings.Split(name, "-"), "")
}
