// SPDX-License-Identifier: Apache-2.0

// Package spec converts a CRI configuration into an OCI runtime spec.
//
// It owns the whole mapping: process, user, capabilities, namespaces, mounts, devices, resources,
// seccomp, AppArmor, SELinux, masked paths, cgroup path and annotations. [Container] returns the
// spec of a container, [PodInit] and [PodHolder] the spec of a pod's task. [Resources] merges an
// update, and [Restore] undoes one. [Effective] and [EffectiveUser] report the applied values.
//
// The package is pure: it opens no file, reads no environment and keeps no state. So equal input
// gives an equal spec, and every rule has a golden file in testdata. The caller passes facts of the
// machine from package host ([Facts], [MountSource], device nodes, a seccomp profile) and of the
// image from package rootfs ([User], [Volume]). One exception: containerd's default seccomp profile
// reads the version of the kernel once.
//
// All functions may be called concurrently. No function keeps or changes its input.
package spec
