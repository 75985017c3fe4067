// SPDX-License-Identifier: Apache-2.0

// Package crilog writes container output in the CRI's log format, which the kubelet and log
// shippers read:
//
//	<RFC 3339 time with nanoseconds> stdout|stderr F|P <content>\n
//
// F (full) ends a line, P (partial) does not: the content of the P and F records of one stream,
// with a newline after each F, is the stream, byte for byte. A line longer than the limit becomes P
// records and a last F; output that ends without a newline ends with a P record.
//
// The package owns the log file and calls no other package of this repository. A Writer is safe for
// concurrent use. One lock guards the file and the buffer and is held while a record is written, so
// that records of different streams do not mix and a new file begins with a whole record.
package crilog
