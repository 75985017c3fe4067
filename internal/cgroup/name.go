// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"strings"
)

// Expand converts the cgroupsPath of an OCI spec, or the cgroup_parent of a pod, to a path in a
// cgroup hierarchy. The form slice:prefix:name is a systemd scope in a slice, and a bare name.slice
// is a slice.
func Expand(cgroupsPath string) string {
	if parts := strings.Split(cgroupsPath, ":"); len(parts) == 3 {
		slice, prefix, name := parts[0], parts[1], parts[2]
		if slice == "" {
			slice = "system.slice" // runc's default
		}
		unit := name
		if !strings.HasSuffix(name, ".slice") {
			unit = prefix + "-" + name + ".scope"
		}
		return path.Join(expandSlice(slice), unit)
	}
	if base := path.Base(cgroupsPath); strings.HasSuffix(base, ".slice") && strings.Trim(cgroupsPath, "/") == base {
		return expandSlice(base)
	}
	return cgroupsPath
}

// Scope reports whether the cgroupsPath of an OCI spec names a systemd scope, in the form
// slice:prefix:name. A runtime that does not use the systemd driver would create a cgroup whose
// name has the colons.
func Scope(cgroupsPath string) bool {
	parts := strings.Split(cgroupsPath, ":")
	return len(parts) == 3 && parts[2] != "" && (parts[0] == "" || strings.HasSuffix(parts[0], ".slice"))
}

// expandSlice returns the path of a slice. The name of a slice contains its parents
// (systemd.slice(5)): a-b.slice is /a.slice/a-b.slice, and -.slice is the root.
func expandSlice(slice string) string {
	slice = path.Base(slice)
	if slice == "-.slice" {
		return "/"
	}
	name := strings.TrimSuffix(slice, ".slice")
	full := "/"
	for i, r := range name {
		if r == '-' {
			full = path.Join(full, name[:i]+".slice")
		}
	}
	return path.Join(full, slice)
}
