// SPDX-License-Identifier: Apache-2.0

// Package reap waits for the processes of containers and reaps orphans. It imports no other package
// of the shim.
//
// The shim is a subreaper: processes that a runtime command leaves behind, and orphans in a
// container that shares its PID namespace, become children of the shim. Each process of a task is
// watched through a pidfd of its own, so that no exit is lost, merged with another or attributed to
// a process that reuses the PID. Other zombies are reaped while no runtime command is running,
// because a runtime command may create a process that is watched later.
//
// Reaper.mu guards the set of watched processes and the count of holds. It is held for system calls
// that do not block. A Child is safe for concurrent use.
package reap
