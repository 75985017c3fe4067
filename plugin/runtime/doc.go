// SPDX-License-Identifier: Apache-2.0

// Package runtime is the narrow door to containerd: sandbox records, container
// records with their snapshots, and tasks. It knows nothing of the CRI; it
// turns what pod and container decided into calls of containerd's client and
// gives errdefs classes back.
//
// All calls need containerd's namespace in their context. The package has no
// state of its own and no locks.
package runtime
