// SPDX-License-Identifier: Apache-2.0

// Package process has what the daemon and the shim do with processes that they start: it waits for
// their end in Go's poller, without a thread per process, and sets their OOM scores. It has no
// state.
package process
