// SPDX-License-Identifier: Apache-2.0

// Package evilimg makes images and archives that no honest tool makes: layers of arbitrary tar
// entries, arbitrary configs, manifests and annotations, OCI layouts and archives of checkpoints.
//
// It only builds values, with a second copy of what it builds nowhere. It has no state and no
// locks.
package evilimg
