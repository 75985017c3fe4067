// SPDX-License-Identifier: Apache-2.0

// Package plugin registers the CRI of containerd-lite as a containerd plugin, under the URIs of
// containerd's built-in CRI.
//
// plugin.go has the repository's only init function, and starts the [Service]. wire.go builds the
// managers. Two of the three registered plugins only decode and validate their tables of
// config.toml; the third serves the CRI. The [Service] owns all goroutines. containerd calls its
// Close when the daemon stops.
package plugin
