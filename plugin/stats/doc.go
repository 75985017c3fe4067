// SPDX-License-Identifier: Apache-2.0

// Package stats measures what containers and pods use, in the messages of the CRI: the statistics,
// and the metrics of the kubelet's cAdvisor endpoint (KEP-2371). It reads files of cgroups, of
// /proc and of network namespaces. It never calls a shim or a runtime, so that a stuck one does not
// delay an answer. Values that cannot be read are left out of the answer; they are not an error.
//
// The metrics are tables, in one file metric_*.go for each group. To add a metric, add a row to a
// table, and add the value that it needs to v1.go and v2.go.
//
// The package calls package network to enter the namespace of a pod, package spec for the names of
// cgroups and package internal/cgroup for their directories, and gets the disk usage of writable
// layers from package image, which samples it.
//
// Locking: rateSampler.mu guards the last CPU samples, and is held for map operations only.
package stats
