// SPDX-License-Identifier: Apache-2.0

// Package group finds a shim for a task, or makes room for a new one.
//
// A Group is a set of tasks that may share a shim: those of one pod, or those of
// as many pods as the option Sharing says. It has numbered slots, each of which
// is a socket path that follows from the group's name, and one lock. Who starts,
// replaces or retires a shim of the group holds the lock, so that of two starts
// at once one starts the shim and the other joins it, and a shim that retires
// never removes the socket of its successor. Joining is a call, not a successful
// connect, and needs no lock: the shim that agrees also promises to stay until
// the task arrives.
package group
