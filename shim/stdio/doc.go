// SPDX-License-Identifier: Apache-2.0

// Package stdio copies the standard streams of one process between the container and the
// destinations that containerd names in the request: FIFOs, files, a binary logger, the
// shim-written log (see shimlog.go), a terminal, or none; or writers of the caller (see Into).
//
// A Streams is opened before the runtime is called, passed to the runtime's command with Set and
// started with Run. Exited is called when the process has exited, and Finish ends the copying. Each
// stream has one goroutine, which waits in Go's poller without holding a buffer. Streams.mu guards
// the files that CloseStdin, Resize, Exited and Close share; it is held only for system calls that
// do not block.
package stdio
