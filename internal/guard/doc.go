// SPDX-License-Identifier: Apache-2.0

// Package guard keeps a panic from ending the process: it becomes an error of the one call that it happened in. It owns the
// count of such panics, imports nothing of this repository, and holds no locks. A guarded function must leave no lock held when
// it panics: unlock with defer.
package guard
