// SPDX-License-Identifier: Apache-2.0

// Package logapi is the protocol between the daemon and a lite shim for the log of a container: the
// URI that passes the log to the shim when the task is created, and the ttrpc service to reopen and
// follow the log.
//
// containerd passes the URI to the shim unchanged, in the field for the path of a named pipe. The
// service uses the messages of the task service and protobuf wrappers, so that no code is generated
// for it. The package has no state.
package logapi
