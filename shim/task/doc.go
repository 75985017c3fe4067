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
//	container.mu          the execs of one container
//	process.mu            the state of one process; exits are queued under it
//	resources.mu          the cgroup of one container, its statistics and out-of-memory watch
//
// The last four guard memory only: no command, file access or wait happens under them, so that
// State, Wait, Connect, Pids, Stats and Kill answer while an operation is in progress. Fields above
// a "Guarded by" comment do not change after the object is created. A method whose name ends in
// Locked is called with the mu of its type held.
//
// Every exit takes one path, exit.go: one goroutine per process waits for it, writes the exit of
// the init to the bundle, publishes the exit and wakes the callers of Wait. The exits of execs are
// published before that of the init.
package task
