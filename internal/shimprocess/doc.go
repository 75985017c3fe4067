// SPDX-License-Identifier: Apache-2.0

// Package shimprocess knows how the process of a lite shim is run: its socket, command line and
// environment. The shim's start command runs it, and the daemon runs it without a start command
// (docs/decisions/0022). They can be of different releases: a flag, a variable or the file
// descriptor of the socket must keep its meaning, and a new one must be optional.
package shimprocess
