// SPDX-License-Identifier: Apache-2.0

// Package oci calls the OCI runtime: runc or any other with the command line of runc. It is the
// only package that uses go-runc.
//
// Each command logs to its own memory file, so that errors of concurrent commands do not mix, and
// holds off the reaper while it runs. The logs are also kept, up to a limit, in the bundle, in the
// file that containerd-shim-runc-v2 uses. A Runtime is immutable and safe for concurrent use. The
// caller decides which commands for one container may run at the same time.
package oci
