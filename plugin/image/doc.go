// SPDX-License-Identifier: Apache-2.0

// Package image is the CRI image service: it pulls, lists, resolves and removes
// the images of containerd's k8s.io namespace, and tells what images and the
// writable layers of containers cost on disk.
//
// The images themselves live in containerd (image records, content, snapshots);
// this package owns an index of them in memory, the pulls under way and a
// sampler of disk usage. It calls containerd through [Deps] and nothing else of
// this project. containerd's own CRI names images the same way, so either may
// take over the other's: every image has a record for its id (the digest of its
// config), one for each tag and one for each repo@digest.
//
// Locking: readers (List, Status, Resolve, ByID, FsInfo, SnapshotUsage) take no lock,
// they load an immutable value behind an atomic pointer. The index has one lock
// for its writers, held while the truth is read from containerd, so that of two
// updates of one name the later one always wins. Pulls have a lock for the
// table of those under way; it is never held during I/O.
package image
