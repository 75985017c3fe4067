// SPDX-License-Identifier: Apache-2.0

// Package cgrouppath converts the names that cgroups have in configuration: the cgroupsPath of an
// OCI spec and the cgroup_parent of a pod. It does no I/O.
package cgrouppath
