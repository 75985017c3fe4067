// SPDX-License-Identifier: Apache-2.0

// Package group finds a running shim for a task, or a socket for a new one. It owns the socket
// files and the lock files of the shims, and calls the shims by ttrpc.
//
// A Group is a set of tasks that may share a shim: the tasks of one pod, or those of as many pods
// as the option Sharing allows. It has numbered slots, each of which is a socket path derived from
// the group's name, and one file lock. A process holds the lock to start, replace or retire a shim
// of the group. So of two concurrent starts one starts the shim and the other joins it, and a shim
// that retires does not remove the socket of its successor. A join is a call to the shim, because
// the shim may exit after a mere connect. It needs no lock: a shim that accepts a join waits for
// the task to be created, for one minute at most.
package group
