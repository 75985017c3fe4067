// SPDX-License-Identifier: Apache-2.0

// Package evilreg is an image registry on 127.0.0.1 with malicious answers: a script for any path
// can answer late, wrongly or without end. It records every request with its headers, so that a
// test can look for credentials that must not arrive there.
//
// A [Registry] is safe for concurrent use; one mutex protects all of it. Scripts run without
// holding it.
package evilreg
