// SPDX-License-Identifier: Apache-2.0

// Package config holds the CRI's part of config.toml: the tables and keys of containerd 2.4's
// built-in CRI, so that a file written for it by kubeadm, k3s or nvidia-ctk means the same here.
//
// There is one struct per table ([Images], [Runtime] with its [Handler] tables, [Server]); a
// field's doc comment says what the key does, its toml tag how it is spelled, its json tag how the
// built-in CRI spells it in `crictl info`, and the Default function of the table what it is when it
// is not set. [Migrate] moves the keys of older files to these tables, Validate finds everything
// that is wrong at once, Pending names the keys that are read but not acted on, and Notes says
// which shims run pods.
//
// The package reads no file but the base_runtime_spec files of [Runtime.BaseSpecs], starts nothing
// and keeps no state. A config is written once, while the daemon starts; after that it is only
// read, so it needs no lock.
package config
