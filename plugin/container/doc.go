// SPDX-License-Identifier: Apache-2.0

// Package container runs the containers of pods: it owns their records, their
// snapshots and tasks in containerd, their streams and logs, and it is the one
// place that sees a container's exit.
//
// It calls pod (is the pod ready?), image, spec, rootfs, host, stdio, stats
// and runtime. Verbs have a file each.
//
// Locking: records change in the store, under the store's lock, which is held
// for no longer than a write to containerd's metadata. What exists only while
// the daemon runs (the task, the streams) is in life, guarded by life.mu, which
// is never held across a call to a shim. Start and Remove of one container
// exclude each other through life.begin; Stop waits for a Start in progress.
package container
