// SPDX-License-Identifier: Apache-2.0

// Package guard keeps a panic from ending the process: the panic becomes an error of the call in
// which it happened. The package owns the count of such panics, imports no other package of this
// repository, and holds no locks. A guarded function must hold no lock after a panic: unlock with
// defer.
//
// A panic ends the process unless its own goroutine recovers it; errgroup, sync.WaitGroup and
// singleflight do not recover it. All goroutines of the daemon and the shim therefore run under
// this package: they are started by [Go], by [Start] if the caller waits for the error, or with a
// function from [Func] (for an errgroup) or [Catch] (for a go statement, WaitGroup or timer).
// [Keep] is for work that must continue after a panic.
package guard
