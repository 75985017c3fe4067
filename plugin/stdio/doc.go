// SPDX-License-Identifier: Apache-2.0

// Package stdio connects the standard streams of one container with its log, in the format of the
// CRI, and with the clients that attach to it.
//
// The writer of the log depends on the shim. A lite shim writes the log itself and continues while
// the daemon is down (shim.go). Any other shim writes to named pipes, which this package reads
// (piped.go). In both cases stdin is a named pipe (stdin.go).
//
// A restart of the daemon or of the shim must not end a pipe. Until the shim has opened its end,
// the daemon keeps both ends open (see Streams.Connect); after that, the output ends when the shim
// closes the pipe. Output that the container writes while the daemon is down waits in the pipe, and
// [Load] continues to read it.
//
// The package calls containerlog and guard. Each output pipe has one goroutine that reads
// it, from Connect to the end of the output or to Close.
package stdio
