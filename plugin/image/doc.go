// SPDX-License-Identifier: Apache-2.0

// Package image is the CRI image service. It pulls, lists, resolves and removes the images of
// containerd's k8s.io namespace, and measures the disk usage of images and of the writable layers
// of containers.
//
// containerd stores the images (image records, content, snapshots). This package owns an index of
// them in memory, the pulls in progress and a sampler of disk usage. It calls containerd through
// [Deps], and no other package of the plugin except activity and metrics, to record. Images are
// named as in the built-in CRI, so that each can use the images of the other: an image has one
// record for its id (the digest of its config), one for each tag and one for each repo@digest.
//
// Locking: readers (List, Status, Resolve, ByID, FsInfo, SnapshotUsage) take no lock; they load an
// immutable value from an atomic pointer. So do pulls with the options, which a reload replaces.
// Writers of the index share one lock and hold it while they read the record from containerd. So of
// two updates of one name, the later one wins.
package image
