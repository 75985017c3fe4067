// SPDX-License-Identifier: Apache-2.0

// Package bootstrap speaks containerd's side of a shim start: what arrives on
// standard input and what must be answered on standard output.
//
// containerd 2.3 and later send BootstrapParams and read BootstrapResult
// (api/runtime/bootstrap/v1). Earlier versions send the runtime options alone
// and read the bare address of a version 2 shim. The package has no state.
package bootstrap
