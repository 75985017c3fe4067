// SPDX-License-Identifier: Apache-2.0

// Package ocitest is an OCI runtime for tests that need neither root nor runc.
//
// A test binary becomes the runtime, and the init of its containers, when it
// calls Main first thing in TestMain: the tests run it again, under the command
// line of runc. Containers are plain processes without namespaces or control
// groups. A Root holds the runtime's state and the files by which a test makes
// commands fail or wait.
package ocitest
