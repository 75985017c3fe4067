// SPDX-License-Identifier: Apache-2.0

// Package runtime is the plugin's interface to containerd: sandbox records, container records with
// their snapshots, tasks, the services of lite shims for logs and ExecSync, and the look-up of
// shims and their features. It does not know the CRI: packages pod and container decide, and this
// package makes the calls of containerd's client. Errors have errdefs classes.
//
// All calls need containerd's namespace in their context. The package has no state and no locks.
package runtime
