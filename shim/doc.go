// SPDX-License-Identifier: Apache-2.0

// Package shim is containerd-shim-lite-v2: the process that stands between
// containerd and the containers of a pod, and outlives the one for the sake of
// the others.
//
// containerd runs the executable with a command and reads the answer from
// standard output: start (make or find the shim of a group of tasks), delete
// (clean up after a shim that is lost), -info and -v. start runs it again,
// without a command, as the shim itself: serve.go.
//
// This package owns the life of that process. The work is in the packages
// below it: task (the Task API), oci (the runtime's command line), reap (waiting
// for processes), stdio, cgroup, outbox (events), and for the commands
// bootstrap, group, bundle and option. It has no state and no locks.
package shim
