// SPDX-License-Identifier: Apache-2.0

// Package image builds the container images that the tests pull: the images that critest v1.37.0
// uses, which behave like the originals as far as a spec checks, and a few of our own. They are
// built from Debian packages (unpacked by integration/tools.sh) and from the programs in pause/ and
// in integration/cmd/nnp, because the tests can reach no public registry.
//
// The package only builds values; [harness] serves them. It has no state and no locks.
package image
