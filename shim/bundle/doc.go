// SPDX-License-Identifier: Apache-2.0

// Package bundle reads and writes the files of a task in its bundle directory. The delete command,
// or a shim of containerd, needs them when the shim that wrote them is gone.
//
// The files options.json, runtime, init.pid, exit.json and log.json have the names and the contents
// of containerd-shim-runc-v2 2.4. The package has no state and no locks: one shim writes a bundle,
// and the delete command runs after it.
package bundle
