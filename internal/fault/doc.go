// SPDX-License-Identifier: Apache-2.0

// Package fault is the base of fakes in tests of managers that work in steps. It records each step
// as a line, keeps the resources that were made and not undone, and fails, panics or blocks at the
// steps that a test selects. It is for tests only.
package fault
