// SPDX-License-Identifier: Apache-2.0

// Package oci calls the OCI runtime, runc or any other with its command line.
// It is the only package that uses go-runc.
//
// Each call gets a log of its own in memory, so that calls never mix up their errors, and holds off
// the reaper while it runs. What a runtime logs is kept in the bundle, where
// containerd-shim-runc-v2 has it, but bounded. A Runtime is immutable and safe for concurrent use;
// who must not run two commands for one container at once is up to the caller.
package oci
