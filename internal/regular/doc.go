// SPDX-License-Identifier: Apache-2.0

// Package regular reads files whose path or content is not trusted: a request, an image or a
// process chose them. It calls nothing of ours and has no state.
package regular
