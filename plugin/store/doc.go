// SPDX-License-Identifier: Apache-2.0

// Package store keeps the one record that the plugin has of each pod and of
// each container.
//
// A record is an immutable value. Readers get the newest one without waiting
// for anybody; a writer changes it with [Store.Update], which holds the
// record's own lock, saves the new value in its durable home first and shows it
// to readers after. So List and Status never wait for the disk, and what a
// reader has seen survives a crash.
//
// A fact, such as the exit of a process, does not wait for the disk and cannot be
// refused: [Store.Settle] shows it first and saves it as soon as the home takes it
// (late.go). The caller must be able to establish the fact again after a crash.
//
// A [Watcher] is told of each change, after readers see it and before the next
// change to the same record.
//
// Locking: Store.mu guards the indexes and is never held across I/O;
// entry.write serialises the writers of one record and may be held while the
// home writes and while the watcher is told. entry.write is taken before mu and
// before late.mu, never after.
package store
