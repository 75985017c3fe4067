// SPDX-License-Identifier: Apache-2.0

// Package logapi is what the daemon and a lite shim say to each other about the
// log of a container: the URI that hands the log over when the task is made, and
// the ttrpc service by which it is reopened and followed.
//
// containerd passes the URI to the shim untouched, in the place of the path of a
// named pipe. The messages of the service are those of the task service, and
// wrappers, so that no code is generated for it. The package has no state.
package logapi
