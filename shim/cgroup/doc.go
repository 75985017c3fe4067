// SPDX-License-Identifier: Apache-2.0

// Package cgroup finds the control group of a container and reads, kills,
// thaws and watches it, on cgroup v2 and on v1.
//
// The group is taken from /proc/<pid>/cgroup, not from the container's
// configuration: with systemd they differ. Only that of a pod without a process
// is made here, see Plan. A group that is also the root's or the shim's own is
// left out, so that nothing here can hurt a bystander.
// A Group is immutable and safe for concurrent use; an OOMWatch and an Announcer
// have locks of their own, taken in this order.
package cgroup
