// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// Panic is a panic that ended a call. Its class is errdefs.ErrInternal, whatever value was passed
// to panic: a panic with a NotFound error does not mean that a lookup found nothing.
type Panic struct {
	What  string // the call that the panic ended
	Value any    // result of recover
	Stack []byte // stack of the goroutine at the panic
}

// Error returns the call and the value. It has no stack, because errors are sent to clients; the
// stack is only logged.
func (p *Panic) Error() string {
	return fmt.Sprintf("%s: panic: %v", p.What, p.Value)
}

// Unwrap returns the class of the panic.
func (p *Panic) Unwrap() error { return errdefs.ErrInternal }

// count is the number of panics since the process started.
var count atomic.Int64

// Count returns the number of panics that Call has caught since the process started.
func Count() int64 { return count.Load() }

// Call runs fn and returns its error. A panic in fn is counted, logged once with its stack and the
// fields of ctx, and returned as a *Panic. Call does not catch a panic in a goroutine that fn
// starts: start it with a Call of its own.
func Call(ctx context.Context, what string, fn func() error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		caught := &Panic{What: what, Value: value, Stack: debug.Stack()}
		count.Add(1)
		log.G(ctx).WithError(caught).WithField("stack", string(caught.Stack)).
			Error("panic caught; only this call ended, the process continues; please report this line as a bug")
		err = caught
	}()
	return fn()
}

// Value is [Call] for a function that also returns a value. After a panic the value is the zero
// value.
func Value[T any](ctx context.Context, what string, fn func() (T, error)) (value T, err error) {
	err = Call(ctx, what, func() (err error) {
		value, err = fn()
		return err
	})
	return value, err
}

// Func returns fn guarded by [Call], for an errgroup.
func Func(ctx context.Context, what string, fn func() error) func() error {
	return func() error { return Call(ctx, what, fn) }
}

// Catch returns fn for a go statement, a WaitGroup or a timer. A panic in fn is handled as by Call;
// failed, if not nil, is then called with it, to release what depends on the goroutine.
func Catch(ctx context.Context, what string, fn func(), failed func(error)) func() {
	return func() {
		err := Call(ctx, what, func() error { fn(); return nil })
		if err != nil && failed != nil {
			_ = Call(ctx, what+": after a panic", func() error { failed(err); return nil })
		}
	}
}
