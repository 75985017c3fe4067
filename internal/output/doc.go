// SPDX-License-Identifier: Apache-2.0

// Package output passes one output stream of a container to its readers: the log, and the clients
// that are attached at the moment. It is used where the container's pipe ends: in the shim or, for
// shims that write no log, in the plugin.
//
// The package owns the set of attached clients and calls no other package of this repository.
// Output.mu guards that set and is never held across I/O.
package output
