// SPDX-License-Identifier: Apache-2.0

// Package execsync is the protocol of an ExecSync between the daemon and a lite shim: a ttrpc
// service with one method. The daemon makes the call on a connection of its own and closes the
// connection when its caller is gone; the shim then kills the command.
//
// The service uses messages of the task service and of protobuf, so that no code is generated for
// it. The package has no state and calls no other package of this repository.
package execsync
