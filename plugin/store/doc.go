// SPDX-License-Identifier: Apache-2.0

// Package store keeps the plugin's records: one for each pod and one for each container.
//
// A record is an immutable value. Readers get the newest one without waiting. A writer changes it
// with [Store.Update], which holds the lock of this record. Update first saves the new value with
// the [Saver] and then shows it to readers. So List and Status never wait for the disk, and the
// values that readers see survive a crash.
//
// A fact, such as the exit of a process, does not wait for the disk and cannot be refused:
// [Store.Settle] first shows it and saves it as soon as the Saver succeeds (settle.go). The caller
// must be able to find the fact again after a crash.
//
// A [Watcher] is called for each change, after readers see it and before the next change to the
// same record.
//
// The package calls the Saver, the Watcher and guard.
//
// Locking: Store.mu guards the indexes and is never held across I/O. entry.write serializes the
// writers of one record; it may be held while the Saver or the Watcher runs. entry.write is taken
// before mu and before unsavedIDs.mu, never after.
package store
