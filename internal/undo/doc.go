// SPDX-License-Identifier: Apache-2.0

// Package undo rolls back a change that is made in named steps.
//
// Every step that succeeded pushes its undo; after a failed step the caller runs the stack. Run
// returns the names of the undos that failed, so that the owner can save them in its record and
// repeat them later. The package does no I/O of its own. A Stack belongs to one goroutine.
package undo
