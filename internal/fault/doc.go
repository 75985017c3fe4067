// SPDX-License-Identifier: Apache-2.0

// Package fault is what tests put around a manager that works in steps: it
// takes down each step as a line, keeps what was made and not undone, and fails,
// panics or blocks where a test says so. It is for tests only.
package fault
