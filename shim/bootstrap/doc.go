// SPDX-License-Identifier: Apache-2.0

// Package bootstrap decodes the parameters that containerd writes to the standard input of a shim
// start, and encodes the answer on standard output.
//
// containerd 2.3 and later send BootstrapParams and read BootstrapResult
// (api/runtime/bootstrap/v1). Earlier versions send only the runtime options and read the bare
// address of a version 2 shim. The package has no state.
package bootstrap
