// SPDX-License-Identifier: Apache-2.0

// Package undo rolls back a change that is made in named steps.
//
// Each step pushes its undo: before it runs, if it can fail halfway, or else after it. If a step
// fails, the caller runs the stack. Run returns the names of the undos that failed, for the log.
// The package does no I/O of its own. A Stack belongs to one goroutine.
package undo
