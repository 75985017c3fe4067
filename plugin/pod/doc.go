// SPDX-License-Identifier: Apache-2.0

// Package pod implements pod sandboxes. It owns their records, and decides when the resources of a
// pod are acquired and released: pinned namespaces, network, the files and shared memory that its
// containers see, and its task. Every pod has a task in containerd, which starts the pod's shim.
// The task is either an init process or a holder, which has no process (see needsInit).
//
// Run is the list of steps that acquire the resources. teardown.go (releaser) has the only list of
// steps that release them, and watch.go (watches) the goroutines that follow the tasks of pods.
// Stop and Remove are idempotent and resume the work of an earlier call or of a failed Run. The
// package calls network, runtime, spec, specgen, host and store. It does not know containers: the
// caller of Stop and Remove passes in the [Members] of the pod.
//
// Locking: records change in the store, under the store's lock. The steps of one pod do not
// overlap: no other call knows the ID while Run is in progress, and calls of Stop and Remove join
// an equal call for the same pod (internal/join). While a pod has a watch, only the watch starts
// and stops the pod's task. No lock is held across a step.
package pod
