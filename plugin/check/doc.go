// SPDX-License-Identifier: Apache-2.0

// Package check finds what prevents this node from running pods, or makes them slow or unsafe, and
// says what to type. `containerd-lite check` prints its findings; `crictl info` has those that are
// not ok.
//
// The package only reads: files, mount and process tables, and, in [Node.Registries], the answers
// of registries. It calls no containerd, so that it works before the daemon runs. A check is a
// function that returns findings; check.go lists all of them. The package has no locks.
package check
