// SPDX-License-Identifier: Apache-2.0

// Package crilog writes container output in the log format of the CRI, the
// one that the kubelet and every log shipper read:
//
//	<RFC 3339 time with nanoseconds> stdout|stderr F|P <content>\n
//
// F (full) ends a line, P (partial) does not: the content of P and F records
// of one stream, with a newline after each F, is the stream, byte for byte.
// A line longer than the limit becomes P records and a last F; output that
// ends without a newline ends in P.
//
// The package owns the log file and nothing else, and calls nothing of this
// program. A Writer may be used by many goroutines: one lock covers the file
// and the buffer, and is held while a record is written, so that records of
// different streams never mix and a new file always begins with a new record.
package crilog
