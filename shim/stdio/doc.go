// SPDX-License-Identifier: Apache-2.0

// Package stdio carries the standard streams of one process between the
// container and whatever containerd named in the request: FIFOs, files, a
// logging program, the container's log (see log.go), a terminal, or nothing.
//
// A Streams is opened before the runtime is called, handed to the runtime's
// command with Set, started with Run, told of the end of the process with
// Exited and finished with Finish. One goroutine per copied stream sleeps in
// Go's poller without holding a buffer. Streams.mu guards the files that
// CloseStdin, Resize, Exited and Close share; it is held for system calls that
// do not block.
package stdio
