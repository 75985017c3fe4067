// SPDX-License-Identifier: Apache-2.0

// Package evilimg builds malformed images and archives that no regular tool builds: layers of
// arbitrary tar entries, arbitrary configs, manifests and annotations, OCI layouts and archives of
// checkpoints.
//
// It only builds values. It has no state and no locks.
package evilimg
