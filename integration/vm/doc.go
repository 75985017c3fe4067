// SPDX-License-Identifier: Apache-2.0

// Package vm runs programs in a virtual machine with what most nodes have and a build machine may
// lack: cgroup v2 with systemd above it, AppArmor, and a whole machine to itself.
//
// An [Image] is a Debian root file system with its kernel, made by [Image.Build] and kept. It knows
// nothing of the project: what a guest runs comes on a second disk that is made anew for each run,
// the payload. [Image.Run] boots a guest, passes on what its program prints and returns the
// program's exit code; [Image.Shell] gives the console to a user. A [Node] is a guest whose root
// file system outlives the boot. A guest that does not end is ended with the context.
//
// Running guests share the image and write to none of it, so that any number of them may run at a
// time; one caller at a time builds it. The package runs debootstrap, mke2fs, qemu-img, tar and
// qemu-system-x86_64.
package vm
