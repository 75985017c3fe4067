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

// Panic is a panic that ended a call. Its class is errdefs.ErrInternal, whatever the value was: a
// panic with an error that is NotFound does not mean that something was looked for.
type Panic struct {
	What  string // The call that it ended.
	Value any    // What recover returned.
	Stack []byte // The stack of the goroutine at the panic.
}

// Error names the call and the value. The stack is for the log only: an error travels to callers.
func (p *Panic) Error() string {
	return fmt.Sprintf("%s: panic: %v", p.What, p.Value)
}

// Unwrap gives the panic its class.
func (p *Panic) Unwrap() error { return errdefs.ErrInternal }

// count is the number of panics since the process started.
var count atomic.Int64

// Count returns the number of panics that Call has caught since the process started.
func Count() int64 { return count.Load() }

// Call runs fn and returns its error. A panic in fn is counted, logged once with its stack and the
// fields of ctx, and returned as a *Panic. A panic in a goroutine that fn starts is not caught:
// start it with a Call of its own.
func Call(ctx context.Context, what string, fn func() error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		caught := &Panic{What: what, Value: value, Stack: debug.Stack()}
		count.Add(1)
		log.G(ctx).WithError(caught).WithField("stack", string(caught.Stack)).
			Error("panic caught: only this call ends, the process goes on; please report it with this line")
		err = caught
	}()
	return fn()
}

// Value is [Call] for a function that returns a value, too. With an error of a panic it is the zero
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

// Catch returns fn for a go statement, a WaitGroup or a timer. A panic in it is handled as by Call;
// failed, if it is not nil, is then called with it, to give up what the goroutine was for.
func Catch(ctx context.Context, what string, fn func(), failed func(error)) func() {
	return func() {
		err := Call(ctx, what, func() error { fn(); return nil })
		if err != nil && failed != nil {
			_ = Call(ctx, what+": after a panic", func() error { failed(err); return nil })
		}
	}
}
