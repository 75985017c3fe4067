// SPDX-License-Identifier: Apache-2.0

// Package podinit is PID 1 of a pod whose containers share one PID namespace.
//
// It replaces the pause process: it keeps the namespace alive, reaps the orphans of the containers
// and exits on a signal. It starts no process, opens no file, imports no other package of the shim
// and shares only the executable with the shim.
package podinit
