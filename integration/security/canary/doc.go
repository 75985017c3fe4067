// SPDX-License-Identifier: Apache-2.0

// Package canary looks at the parts of the host that no image, request or registry may change, and
// weighs the programs that an attack may fill: it adds to the leak check of [harness] what is there
// before and after and must be the same.
//
// A [Host] owns the files below its directory. It locks nothing: one goroutine uses it.
package canary
