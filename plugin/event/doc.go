// SPDX-License-Identifier: Apache-2.0

// Package event tells subscribers what becomes of pods and containers (KEP-3386). It
// owns the hub that the managers publish to, and the queue of each subscriber.
//
// It calls nobody. A subscriber says how the state of a pod is read; that is done when
// something is published, so that each event has the state that it is about.
//
// Locking: Hub.mu guards everything here. It is taken while the store holds the
// writer's lock of a record, and held while records are read. Nobody waits for
// anything else under it: a publisher never waits for a subscriber.
package event
