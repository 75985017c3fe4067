// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// defaultCgroupParent is the parent of containers without a cgroup_parent, as in containerd: a
	// cgroup with the name of the containerd namespace.
	defaultCgroupParent = "/k8s.io"
	// defaultSlice is the same for the systemd driver, whose runtimes accept slices only. It is the
	// default of runc.
	defaultSlice = "system.slice"

	sliceSuffix = ".slice"
)

// CgroupsPath returns the cgroupsPath of a container, or of a pod's task, below the cgroup_parent
// of the pod. If the last element of the parent ends in .slice, the result has the form
// slice:prefix:name of the runtime spec. Otherwise it is a path in the hierarchy. If systemd is
// set, the default parent is a slice.
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

// cgroupsPath returns the CgroupsPath for a handler. With the systemd driver it refuses a parent
// that is not a slice. The runtime would refuse it, too, but its error would not name the field.
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
		return invalid(field, "has %d bytes, the maximum is %d", len(parent), maxPath-1)
	case slices.Contains(strings.Split(parent, "/"), ".."):
		return invalid(field, "%q has a .. element", parent)
	case strings.Contains(parent, ":"):
		return invalid(field, "%q has a colon, which separates slice, prefix and name", parent)
	}
	if slice := path.Base(parent); strings.HasSuffix(slice, sliceSuffix) && !isSlice(slice) {
		return invalid(field, "%q is not the name of a systemd slice", slice)
	}
	return checkText(field, parent)
}

// isSlice reports whether name is a slice as in systemd.slice(5): -.slice is the root, and each
// dash in another name adds a level.
func isSlice(name string) bool {
	name = strings.TrimSuffix(name, sliceSuffix)
	return name == "-" || !slices.Contains(strings.Split(name, "-"), "")
}
