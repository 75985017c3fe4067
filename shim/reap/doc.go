// SPDX-License-Identifier: Apache-2.0

// Package reap waits for the processes of containers and for no others.
//
// The shim is a subreaper: what a runtime command leaves behind, and what a
// container that shares its PID namespace orphans, becomes the shim's child.
// Every process that matters is watched through its own pidfd, so that no
// exit is lost, merged or mistaken for another process with the same number.
// Zombies that nobody watches are reaped when it is certain that no runtime
// command is about to claim them.
//
// Reaper.mu guards the set of watched processes and the count of holds; it is
// held for system calls that do not block. A Child is safe for concurrent use.
package reap
