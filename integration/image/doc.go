// SPDX-License-Identifier: Apache-2.0

// Package image builds the container images that the tests pull: the ones that critest v1.36.0
// names, made to behave as the originals where a spec looks, and a few of our own. They are made of
// Debian packages (unpacked by integration/tools.sh) and of the programs in nnp/ and pause/,
// because no registry can be asked for them.
//
// It only builds values; [harness] serves them. It has no state and locks nothing.
package image
