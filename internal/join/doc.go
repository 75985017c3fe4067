// SPDX-License-Identifier: Apache-2.0

// Package join runs work once for all equal calls that are in progress at the same time.
//
// The kubelet gives up on a slow call after its own timeout and repeats the same request. The first
// call must not be undone then, nor block the second one: the work continues without its caller,
// and the repeated call waits for the same work. A [Policy] says what happens to work that has no
// caller left.
//
// It owns the goroutines of the work, which package guard protects from panics. It calls nothing
// else of the project.
//
// Locking: Calls.mu guards the map of calls and their number of callers. It is never held while
// work runs.
package join
