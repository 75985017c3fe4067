// SPDX-License-Identifier: Apache-2.0

// Package containerio connects the standard streams of one container with its log, in the format of
// the CRI, and with the clients that attach to it.
//
// A log is shim-written or daemon-written. A lite shim writes the log itself and continues while
// the daemon is down (shimwritten.go). Any other shim writes to named pipes, which this package
// reads, and the daemon writes the log (daemonwritten.go). In both cases stdin is a named pipe
// (stdinpipe.go).
//
// Until the shim has opened an output pipe, the daemon keeps both ends open (see Streams.Connect).
// From then on the shim keeps both ends open, so that a restart of the daemon does not end the
// output, and the output ends when the shim closes the pipe. Output that the container writes while
// the daemon is down waits in the pipe, and [Load] continues to read it.
//
// The package calls containerlog and guard. Each output pipe has one goroutine that reads it, from
// Connect to the end of the output or to Close.
package containerio
