// SPDX-License-Identifier: Apache-2.0

// Package task implements the Task API of the shim: containers, their processes and the queries of
// containerd about them. The container of a pod that has no process is a holder: it supports all
// operations except those that need a process.
//
// It calls the other packages of the shim; only package shim imports it.
//
// Locks, outermost first:
//
//	process.operation     one runtime operation at a time per process; the wait for it ends with the
//	                      context of the call
//	container.publishMu   from the runtime's start of the init until the start event is queued
//	registry.mu           the tasks of this shim and those that have joined
//	container.mu          the set of execs of one container
//	admission.mu          the number of live execs, and whether one can start
//	process.mu            the state of one process; its exit is queued under it
//	resources.mu          the cgroup of one container, its statistics and out-of-memory watch
//
// Of registry.mu and those after it, two are held together only where the state of the init decides
// about an exec: addExec takes process.mu of the init under container.mu, and admit takes
// process.mu under admission.mu.
//
// registry.mu and those after it guard memory only: no command, file access or wait happens under
// them, so that State, Wait, Connect, Pids, Stats and Kill answer while an operation is in
// progress. Fields above a "Guarded by" comment do not change after the object is created. A method
// whose name ends in Locked is called with the mu of its type held.
//
// Every exit takes one path: one goroutine per process publishes it and wakes the callers of Wait.
// For the init that is container.initExited, which also writes the exit to the bundle; for an exec
// it is exec.awaitExit. The exits of execs are published before that of the init.
package task
