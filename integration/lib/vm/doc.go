// SPDX-License-Identifier: Apache-2.0

// Package vm runs programs in a virtual machine that has what most nodes have and a build machine
// may lack: cgroup v2 managed by systemd, AppArmor, and no other workload.
//
// An [Image] is a Debian root file system with its kernel, made by [Image.Build] and kept. It
// contains nothing of the project: the program that a guest runs comes on a second disk, the
// payload, which is made for each run. [Image.Run] boots a guest, passes on the output of the
// program and returns its exit code; [Image.Shell] connects the console to the terminal. A [Node]
// is a guest whose root file system persists from boot to boot. Canceling the context kills the
// guest.
//
// Running guests share the image and do not write to it, so that any number of them may run at the
// same time. Only one caller at a time may build it. The package runs debootstrap, mke2fs,
// qemu-img, tar and qemu-system-x86_64.
package vm
