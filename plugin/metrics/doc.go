// SPDX-License-Identifier: Apache-2.0

// Package metrics has the metrics of the CRI. containerd serves them at the address in its config,
// with its own. In metrics.go, names, types, labels and meanings are those of containerd's built-in
// CRI, so that dashboards and alerts for it work; a test compares them with those of a stock
// containerd (integration/suite/stats). In own.go are those that only containerd-lite has.
//
// The packages of the plugin record into the variables, which are safe for concurrent use. The
// package calls nothing of the plugin.
package metrics
