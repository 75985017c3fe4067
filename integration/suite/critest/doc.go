// SPDX-License-Identifier: Apache-2.0

// Package critest runs critest v1.37.0, the conformance suite of the CRI, against the daemon under
// test and converts its report to Go tests, one per spec. The specs themselves are part of critest.
package critest
