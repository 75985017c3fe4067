// SPDX-License-Identifier: Apache-2.0

// Package deleted answers the shim's delete command for a task that was deleted in order.
//
// containerd runs that command whenever it closes its connection to a shim, so after every task,
// and waits for it. The answer is in the bundle: the shim writes it when the task is deleted. Init
// passes it on and ends the process before the larger packages of the executable are initialized,
// which would take as long as the rest of the command: Go initializes packages in the order of
// their import paths as soon as their imports are initialized. For this reason the package imports
// no other than os (docs/decisions/0021).
package deleted
