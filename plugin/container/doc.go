// SPDX-License-Identifier: Apache-2.0

// Package container runs the containers of pods. It owns their records, their snapshots and tasks
// in containerd, their streams and logs, and it records their exits.
//
// It calls pod (for the state of the pod), image, specgen, spec, rootfs, containerio, store and
// runtime. Each verb of the CRI has a file: StopContainer is in stop.go.
//
// Manager changes containers. The watcher (exit.go, oom.go, reconcile.go) follows their tasks and
// records their exits, execs (exec.go) runs commands in them, and imageVolumes mounts images for
// them. These three are built before Manager and do not refer to it.
//
// Locking: package store serializes the changes to a record and holds the record's lock no longer
// than a write to containerd's metadata takes. The task and the streams exist only while the daemon
// runs. They are in life, guarded by life.mu, which is never held across a call to a shim. Start
// and Remove of one container exclude each other through life.begin; Stop waits for a Start in
// progress.
package container
