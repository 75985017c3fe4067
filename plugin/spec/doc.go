// SPDX-License-Identifier: Apache-2.0

// Package spec turns a CRI configuration into an OCI runtime spec.
//
// It owns the whole mapping: process, user, capabilities, namespaces, mounts, devices, resources,
// seccomp, AppArmor, SELinux, masked paths, cgroup path and annotations. [Container] makes the spec
// of a container, [PodInit] the one of the init of a pod whose containers share a PID namespace,
// [Resources] merges an update, [Effective] and [EffectiveUser] say what was applied.
//
// The package is pure: it opens no file, reads no environment and keeps no state, so equal input
// gives an equal spec and every rule has a golden file in testdata. What must be read from the
// machine is handed in: by package host ([Facts], [MountSource], device nodes, a seccomp profile)
// and by package rootfs ([User], [Volume]). The one exception is containerd's default seccomp
// profile, which asks the kernel for its version once.
//
// All functions may be called concurrently; none keeps or changes its input.
package spec
