// SPDX-License-Identifier: Apache-2.0

// Package reserved has the names of the labels and annotations that control programs on the host:
// containerd, its CRI, its shims and nerdctl. Such a name is never accepted from an image, pod or
// container: the label containerd.io/restart.loguri of an image could run a command as root
// (CVE-2026-53488).
//
// It is pure and has no state.
package reserved
