// SPDX-License-Identifier: Apache-2.0

// Package event distributes events of pods and containers to subscribers (KEP-3386). It owns the
// hub to which the managers publish, and a queue per subscriber.
//
// It calls no manager. A subscriber passes in the function that reads the state of a pod. The hub
// calls it when an event is published, so that the event carries the state at that time.
//
// Locking: Hub.mu guards everything in this package. A publisher takes it while the store holds the
// write lock of a record, and records are read while it is held. Nothing that blocks is called
// then: a publisher never waits for a subscriber.
package event
