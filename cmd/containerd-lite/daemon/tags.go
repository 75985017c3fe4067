// SPDX-License-Identifier: Apache-2.0

//go:build !no_cri

package daemon

// With containerd's built-in CRI in the binary the daemon would panic, because both CRIs have the
// same plugin URIs. This constant makes such a build fail.
const _ = build_with_tags_no_cri
