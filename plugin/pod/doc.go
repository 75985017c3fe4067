// SPDX-License-Identifier: Apache-2.0

// Package pod runs pod sandboxes: it owns their records, the namespaces that
// are pinned for them, their network, and the files and shared memory that
// their containers see. Every pod has a task in containerd, which starts its
// shim; only where it is an init is there a process behind it.
//
// Run is a list of steps, and teardown.go the one list of steps back; Stop and Remove are
// idempotent and resume whatever an earlier call, or a failed Run, left. The package calls network,
// runtime and store. It knows nothing of containers: who stops a pod hands in the [Members] to
// stop.
//
// Locking: records change in the store, under the store's lock. The steps of
// one pod do not overlap: Run is alone because its id is known to no caller yet,
// and Stop and Remove of one pod join a call in progress (Manager.ends). The task
// of a pod belongs to its watch until the teardown ends that. No lock is held
// across a step.
package pod
