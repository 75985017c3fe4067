// SPDX-License-Identifier: Apache-2.0

// Package cgroup finds the cgroups of a node: the mounted hierarchies and their mode (v1, v2 or
// hybrid), the cgroups of processes, and the directories of cgroups. It converts the names that
// cgroups have in configuration: the cgroupsPath of an OCI spec and the cgroup_parent of a pod.
//
// It reads /proc, and below /sys/fs/cgroup only the type of the file system and which directories
// exist. The files of cgroups are read and written by plugin/stats, plugin/host and shim/cgroup.
// The package has no state. The shim imports it, so its imports are few.
package cgroup
