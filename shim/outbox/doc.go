// SPDX-License-Identifier: Apache-2.0

// Package outbox delivers the events of tasks to containerd: each once it can,
// in the order in which they happened, and never on the path of a call. After a restart
// of containerd its subscribers are waited for, see settle.go.
//
// Put appends to a bounded queue and returns. One goroutine, Run, sends the
// head of the queue until containerd has taken it, so a restart of containerd
// delays events but does not lose or reorder them. If the queue is full, the
// oldest event that is not about an end is dropped first. Outbox.mu guards the
// queue and is never held while sending.
package outbox
