// SPDX-License-Identifier: Apache-2.0

// Package bundle reads and writes the files that a task leaves in its bundle
// directory, so that the delete command, or a shim of containerd's own, finds
// everything it needs when the shim that made them is gone.
//
// The names options.json, runtime, init.pid, exit.json and log.json and their contents
// are those of containerd-shim-runc-v2 2.4. The package has no state and no
// locks: one shim writes a bundle, and delete runs after it.
package bundle
