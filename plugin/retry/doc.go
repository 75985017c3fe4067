// SPDX-License-Identifier: Apache-2.0

// Package retry lets a repeated call join or take over the first one.
//
// The kubelet gives up on a slow RunPodSandbox or CreateContainer after its own
// timeout and calls again with the same request. The first call must then not
// be undone, nor answer "name is reserved" until it ends: the work goes on
// without its caller, the repetition waits for the same work, and when nobody
// was there to take the result, the next equal request gets it. A request whose
// result was taken is over; repeating it is a new request.
//
// Locking: Group.mu guards the map of calls; it is never held while work runs.
package retry
