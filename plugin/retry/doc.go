// SPDX-License-Identifier: Apache-2.0

// Package retry lets a repeated call join the first one or take over its result.
//
// The kubelet cancels a slow RunPodSandbox or CreateContainer after its own timeout and repeats the
// same request. The first call must not be rolled back then, and the second one must not fail with
// "name is reserved" until the first ends. So the work continues without its caller, and the second
// call waits for the same work. If no caller is waiting when the work ends, the next equal request
// gets the result. After a caller got the result, an equal request is a new one.
//
// Locking: Group.mu guards the map of calls. It is never held while work runs.
package retry
