// SPDX-License-Identifier: Apache-2.0

// Package config holds the CRI's part of config.toml: the tables and keys of containerd 2.4's
// built-in CRI. A file that kubeadm, k3s or nvidia-ctk wrote for the built-in CRI has the same
// meaning here.
//
// There is one struct per table ([Images], [Runtime] with its [Handler] tables, [Server]). A
// field's doc comment says what the key does and becomes its text in the man page. The toml tag is
// the key, the json tag is its name in `crictl info` as in the built-in CRI. The Default function
// of the table has the default values. [Migrate] moves the keys of older files to these tables,
// Validate returns all problems at once, Pending lists the keys that are read but have no effect,
// and Notes lists which shims run pods.
//
// The package reads no files except the base_runtime_spec files of [Runtime.BaseSpecs], and starts
// nothing. A config is written once and only read after that, so it needs no lock. [Live] holds the
// one in effect, which a reload replaces.
package config
