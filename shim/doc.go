// SPDX-License-Identifier: Apache-2.0

// Package shim is containerd-shim-lite-v2: the process between containerd and the containers of one
// or more pods. It outlives containerd, so that the containers keep running.
//
// containerd runs the executable with a command and reads the answer from standard output: start
// (find or start the shim of a group of tasks), delete (clean up after a lost shim), -info and -v.
// start runs the executable again without a command: that process is the shim itself, see serve.go.
//
// This package owns the lifetime of that process. The work is done by the packages below it: task
// (the Task API), oci (the OCI runtime's command line), reap (waiting for processes), stdio,
// cgroup, outbox (events), and for the commands bootstrap, group, bundle and option. The package
// has no global state; its only lock guards the bundle that the shim logs to.
package shim
