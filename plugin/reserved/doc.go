// SPDX-License-Identifier: Apache-2.0

// Package reserved knows the names of labels and annotations that programs of the host obey:
// containerd, its CRI, its shims and nerdctl. Such a name is never taken from an image, a pod or a
// container, whoever sent it: the label containerd.io/restart.loguri of an image once ran a command
// of its author as root (CVE-2026-53488).
//
// It is pure and has no state.
package reserved
