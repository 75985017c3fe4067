// SPDX-License-Identifier: Apache-2.0

package undo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Stack is the list of the undo functions of the steps so far. The zero Stack is empty and ready
// for use.
type Stack struct {
	steps []step
}

type step struct {
	name string
	fn   func(context.Context) error
}

// Push adds the undo of a step. If it is pushed before the step, it must do nothing when the step
// created nothing.
func (s *Stack) Push(name string, fn func(context.Context) error) {
	s.steps = append(s.steps, step{name, fn})
}

// Keep drops all undos: the change is complete.
func (s *Stack) Keep() {
	s.steps = nil
}

// Run undoes all steps, the latest first, and leaves the Stack empty. It continues after an undo
// that fails or panics. left has the names of these undos in the order in which they ran, and err
// joins their errors.
//
// The context of the failed change has often ended: pass a context that is detached from it and has
// a timeout.
func (s *Stack) Run(ctx context.Context) (left []string, err error) {
	steps := s.steps
	s.steps = nil
	var errs []error
	for _, st := range slices.Backward(steps) {
		if err := guard.Call(ctx, st.name, func() error { return st.fn(ctx) }); err != nil {
			left = append(left, st.name)
			errs = append(errs, fmt.Errorf("undo %s: %w", st.name, err))
		}
	}
	return left, errors.Join(errs...)
}
