// SPDX-License-Identifier: Apache-2.0

// Package critest runs critest v1.36.0, the conformance suite of the CRI, against the daemon under
// test and turns its report into Go tests: one per spec. It only reads the report; the specs
// themselves are critest's.
package critest
