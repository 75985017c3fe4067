// SPDX-License-Identifier: Apache-2.0

// Package containerlog is the log of a container: its format, its file, and the output on its way
// to the log and to attached clients. It is used where the container's pipe ends: in a lite shim
// (shim-written log) or, for other shims, in the daemon (daemon-written log).
//
// The format is that of the CRI (stream.go), which the kubelet and log shippers read:
//
//	<RFC 3339 time with nanoseconds> stdout|stderr F|P <content>\n
//
// F (full) ends a line, P (partial) does not: the content of the P and F records of one stream,
// with a newline after each F, is the stream, byte for byte. A line longer than the limit becomes P
// records and a last F; output that ends without a newline ends with a P record.
//
// The protocol between the daemon and a lite shim (protocol.go) is a URI, which passes the log to
// the shim when the task is created, and a ttrpc service, which reopens and follows the log.
// containerd passes the URI to the shim unchanged, in the field for the path of a named pipe. The
// service uses the messages of the task service and protobuf wrappers, so that no code is generated
// for it.
//
// The package owns the log file and the attached clients, and calls no other package of this
// repository. A Writer is safe for concurrent use. Writer.mu guards the file and the buffer and is
// held while a record is written, so that records of different streams do not mix and a new file
// begins with a whole record. Output.mu guards the clients. It is not held across a write to a
// client, nor to the log, except for the incomplete line that Output.Close writes.
package containerlog
