// SPDX-License-Identifier: Apache-2.0

// Package host reads the properties of the machine that package spec needs, and creates the files
// that the containers of a pod share.
//
// It owns the host's part of a spec: facts of the kernel and cgroups ([Read]), device nodes,
// sources of mounts, security profiles and SELinux labels, and the hostname, hosts, resolv.conf and
// /dev/shm of a pod ([PodFiles]). Paths come from the kubelet and name files of the host, so
// symbolic links are followed. Only regular files are read, up to a size limit. Package rootfs
// handles everything that an image controls.
//
// All functions may be called concurrently, except methods of PodFiles with the same pod. Only
// SELinux has state, which its lock protects.
package host
