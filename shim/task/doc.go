// SPDX-License-Identifier: Apache-2.0

// Package task is the Task API of the shim: containers, their processes, and
// what containerd asks about them. The container of a pod that has no process
// is a holder: it has everything but a runtime, and refuses what needs one.
//
// Locks, outermost first:
//
//	process.turn        one runtime operation at a time per process; waited
//	                    for with the context of the call
//	process.announce    from the runtime's start until the start is published
//	registry.mu         the tasks of this shim and who is about to join it
//	container.mu        the state of one container and its processes; the
//	                    queue of events is put to under it
//
// The two mutexes guard memory only: no command, file or wait happens under
// them, so State, Wait, Connect, Pids, Stats and Kill answer while an operation
// is under way, however long it takes. Fields above a "Guarded by" comment do
// not change after the object is made. A method whose name ends in Locked is
// called with container.mu held.
//
// The end of a process has one path, exit.go: waited for by one goroutine per
// process, written down, then published, then told to waiters; that of an exec
// before that of the init.
package task
