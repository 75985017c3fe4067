// SPDX-License-Identifier: Apache-2.0

// Package sharing parses the option Sharing of the lite shim, which sets how many pods share a shim
// process. The daemon checks the option when it reads its config, and the shim when it starts. It
// does no I/O.
package sharing
