// SPDX-License-Identifier: Apache-2.0

// Package evilreg is an image registry on 127.0.0.1 that serves what no honest registry would: any
// path can be given a script that answers late, wrongly or without end. It records every request
// with its headers, so that a test can look for credentials that arrive where they must not.
//
// A [Registry] is safe for concurrent use; one mutex protects all of it. Scripts run without it.
package evilreg
