// SPDX-License-Identifier: Apache-2.0

// Package undo keeps the way back of a change that is made in named steps.
//
// Every step that succeeded pushes its undo; a step that fails runs the stack.
// What cannot be undone now is returned by name, so that the owner can save
// the names in its record and resume them later. The package does no I/O of
// its own. A Stack belongs to one goroutine.
package undo
