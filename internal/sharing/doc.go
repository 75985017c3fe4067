// SPDX-License-Identifier: Apache-2.0

// Package sharing reads the option Sharing of the lite shim, which says how many
// pods have a shim process in common. The daemon checks it when it reads its
// config, the shim when it is told. It does no I/O.
package sharing
