// SPDX-License-Identifier: Apache-2.0

// Package stdio connects the standard streams of one container: its log in the
// format of the CRI, and the clients that attach.
//
// Who writes the log depends on the shim. A lite shim does, and goes on while
// the daemon is down (shim.go). For any other there are named pipes that the
// shim writes to and this package reads (piped.go). In both cases stdin is a
// named pipe (stdin.go).
//
// A pipe has two ends, and neither side's restart may end it. While the shim
// has not opened its end, ours keeps the pipe open (see Streams.Connect); from
// then on the end of the output is that the shim has closed it. A pipe outlives
// the daemon: what the container writes meanwhile waits in it, and [Load] reads
// on.
//
// The package calls crilog, output and logapi and nothing else of the program.
// Each output pipe has one goroutine that reads it, from Connect to its end or
// to Close.
package stdio
