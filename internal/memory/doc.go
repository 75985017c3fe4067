// SPDX-License-Identifier: Apache-2.0

// Package memory finds out when a process is idle, and returns the pages of its executable to the
// system. The caller decides about the heap. The package has no locks and no goroutines.
package memory
