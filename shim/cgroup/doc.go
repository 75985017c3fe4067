// SPDX-License-Identifier: Apache-2.0

// Package cgroup finds the cgroup of a container and reads, kills, thaws, limits and watches it, on
// cgroup v2 and v1.
//
// Of reads the paths of a container from /proc/<pid>/cgroup (internal/cgroup), not from its
// configuration: with the systemd driver the two differ. Make creates cgroups, and only for pods
// without a process. The package ignores a cgroup that is the root or that the shim itself is in,
// so that no operation can affect processes outside of the container.
//
// A Group is immutable and safe for concurrent use. OOMWatch and Notifier have their own locks; the
// lock of an OOMWatch is taken before the lock of a Notifier.
package cgroup
