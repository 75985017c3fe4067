// SPDX-License-Identifier: Apache-2.0

// Package activity knows the calls of the CRI in progress, where each waits, and those that ended
// in the last hour. `containerd-lite status` shows them.
//
// The interceptor of the RPCs begins a call. The places where a call can wait for something outside
// the daemon begin a step of it: a shim, a CNI plugin, containerd's metadata on the disk, a
// registry. A call that has ended with work left behind, which a later call joins, stays in
// progress until its last step ends.
//
// Each step is also a span in the trace of its call, and its duration is recorded in the metrics.
//
// The package calls only metrics. A Log has one lock, which is held only to change or to copy
// its data. Memory is bounded: see the constants.
package activity
