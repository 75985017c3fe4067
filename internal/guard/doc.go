// SPDX-License-Identifier: Apache-2.0

// Package guard keeps a panic from ending the process: it becomes an error of the one call that it
// happened in. It owns the count of such panics, imports nothing of this repository, and holds no
// locks. A guarded function must leave no lock held when it panics: unlock with defer.
//
// A panic ends the process unless its own goroutine recovers it, and errgroup, sync.WaitGroup and
// singleflight do not. So the goroutines of this repository are started here: by [Go], by [Start]
// for one whose error is awaited, or as the [Func] of a group. [Keep] is for work that has to go on
// after a panic.
package guard
