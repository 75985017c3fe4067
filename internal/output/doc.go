// SPDX-License-Identifier: Apache-2.0

// Package output is one output stream of a container on its way to whoever
// reads it: its log, and the clients that are attached at the moment. It stands
// where the container's pipe ends, which is in the shim or, for shims that
// write no log, in the plugin.
//
// It owns the set of attached clients and calls nothing of this program.
// Output.mu guards that set and is never held across I/O.
package output
