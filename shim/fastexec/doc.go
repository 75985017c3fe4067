// SPDX-License-Identifier: Apache-2.0

// Package fastexec starts a process in a running container without runc, by the program of package
// shim/enter, if the container's spec needs nothing that the program does not do
// (docs/decisions/0020).
//
// The list of fields that a spec may have is in allowed.go. Any other field, also one that this
// version of the shim does not know, makes New return an error, and every error of a start means
// that no process was started: the caller uses `runc exec` then, which reports errors in its own
// words.
package fastexec
