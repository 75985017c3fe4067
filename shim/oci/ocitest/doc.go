// SPDX-License-Identifier: Apache-2.0

// Package ocitest is an OCI runtime for tests that run without root and without runc.
//
// A test binary becomes the runtime, and the init of its containers, if TestMain calls Main first:
// the tests run the binary again with the command line of runc. Containers are plain processes
// without namespaces and cgroups. A Root has the state of the runtime and the files by which a test
// makes commands fail or wait.
package ocitest
