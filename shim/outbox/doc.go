// SPDX-License-Identifier: Apache-2.0

// Package outbox delivers the events of tasks to containerd, in the order in which they occurred
// and without delaying the call that causes them. It owns the connection to containerd's events
// service.
//
// Put appends an event to a bounded queue and returns. One goroutine, Run, sends the head of the
// queue until containerd accepts it, so that a restart of containerd delays events but neither
// loses nor reorders them. After a restart, events wait until containerd's subscribers should have
// reconnected, see subscribers.go. If the queue is full, the oldest event that is no exit, deletion
// or out-of-memory kill is dropped first. Outbox.mu guards the queue and is not held while an event
// is sent.
package outbox
