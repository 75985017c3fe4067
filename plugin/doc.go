// SPDX-License-Identifier: Apache-2.0

// Package plugin is the CRI of containerd-lite as a containerd plugin.
//
// This file registers it under the URIs of containerd's built-in CRI, in the repository's only init
// function; wire.go builds it. Two plugins do nothing but decode and check their tables of
// config.toml, the third serves. Whatever they start is owned by the [Service] and ends with its
// Close, which containerd calls when it stops.
package plugin
