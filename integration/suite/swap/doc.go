// SPDX-License-Identifier: Apache-2.0

// Package swap replaces the daemon of a node while its pods run: stock containerd by
// containerd-lite (docs/swap.md).
package swap
