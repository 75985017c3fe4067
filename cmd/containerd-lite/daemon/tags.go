// SPDX-License-Identifier: Apache-2.0

//go:build !no_cri

package daemon

// With containerd's own CRI in the binary the daemon would panic: both have the same plugin URIs.
// This keeps such a build from compiling.
const _ = build_with_tags_no_cri
