// SPDX-License-Identifier: Apache-2.0

// Package host reads from the machine what package spec must know, and makes the files that a pod's
// containers share.
//
// It owns the host's side of a spec: the facts of kernel and cgroups ([Read]), device nodes,
// sources of mounts, security profiles and SELinux labels, and the pod's hostname, hosts,
// resolv.conf and /dev/shm ([PodDir]). Paths come from the kubelet and are the host's, so they are
// followed where their links lead; files are read up to a limit and only when regular. What an
// image can influence is package rootfs's task.
//
// Nothing here keeps state: the functions may be called concurrently, those of one PodDir one at a
// time.
package host
