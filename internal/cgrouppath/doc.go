// SPDX-License-Identifier: Apache-2.0

// Package cgrouppath reads the names that cgroups have outside of the kernel:
// the cgroupsPath of an OCI spec and the cgroup_parent of a pod. It does no I/O.
package cgrouppath
