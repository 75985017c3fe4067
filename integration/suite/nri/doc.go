// SPDX-License-Identifier: Apache-2.0

// Package nri tests NRI plugins on a running daemon: with the tests of containerd's own suite, with
// the plugins of the NRI repository on both daemons, and with plugins that fail.
package nri
