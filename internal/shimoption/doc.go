// SPDX-License-Identifier: Apache-2.0

// Package shimoption has the own options of the lite shim: those that runc's options message has no
// field for. The daemon decodes them when it reads its config, and the shim when containerd passes
// them. The package does no I/O.
package shimoption
