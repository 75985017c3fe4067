// SPDX-License-Identifier: Apache-2.0

// Package stats measures what containers and pods use, in the messages of the
// CRI: the statistics, and the metrics of the kubelet's cAdvisor endpoint
// (KEP-2371). It reads files of cgroups, of /proc and of network namespaces, once
// for each container; it never calls a shim or a runtime, so that a stuck one
// delays nobody. What cannot be read is left out of an answer, nothing fails.
//
// The metrics are tables, one file metric_*.go for each group: who wants another
// metric adds a row, and what it is read from to v1.go and v2.go.
//
// It calls network to enter the namespace of a pod, spec for the names of cgroups,
// and takes the disk usage of writable layers from package image, which samples
// it. rates.mu guards the last CPU samples; it is held for map operations only.
package stats
