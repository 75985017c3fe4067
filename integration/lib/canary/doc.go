// SPDX-License-Identifier: Apache-2.0

// Package canary watches parts of the host that no image, request or registry may change, and
// measures the memory, files and goroutines of programs under attack. It adds to the leak check of
// [harness]: its files, sysctls and sockets must be the same before and after.
//
// A [Host] owns the files below its directory. It has no locks: use it from one goroutine.
package canary
