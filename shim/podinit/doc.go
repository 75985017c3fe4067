// SPDX-License-Identifier: Apache-2.0

// Package podinit is PID 1 of a pod whose containers share one PID namespace.
//
// It stands in for the pause process: it keeps the namespace alive, reaps the
// orphans of the containers and ends when it is told to. It starts nothing,
// opens nothing and shares nothing with the shim but the executable.
package podinit
