// SPDX-License-Identifier: Apache-2.0

// Package meter measures the work of a daemon and of everything that descends from it: CPU time by
// cgroups, and numbers of system calls, program starts and disk syncs by tracepoints. Both drift
// far less than times. It owns the cgroup of the daemon until the daemon ends, and the events of
// the kernel that count. A [Meter] is not safe for concurrent use.
package meter
