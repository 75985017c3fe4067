// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ErrPanic as the error of [World.Fail] makes a step panic.
var ErrPanic = errors.New("the step panics")

// World stands for everything that a manager calls. Its methods may be called concurrently. A fake
// that embeds a World uses its lock, too.
type World struct {
	sync.Mutex
	trace  []string
	fail   map[string]error
	gates  map[string]chan struct{}
	exists map[string]int // resources, with their users
}

// NewWorld returns a World without resources.
func NewWorld() *World {
	return &World{
		fail:   map[string]error{},
		gates:  map[string]chan struct{}{},
		exists: map[string]int{},
	}
}

// Call is a step that makes no resource.
func (w *World) Call(line string) error {
	w.Lock()
	w.trace = append(w.trace, line)
	w.Unlock()
	return w.Ask(line)
}

// Ask is a step that is not recorded in the trace.
func (w *World) Ask(line string) error {
	w.Lock()
	err, gate := w.fail[line], w.gates[line]
	w.Unlock()
	if gate != nil {
		<-gate
	}
	if errors.Is(err, ErrPanic) {
		panic(line)
	}
	return err
}

// Makes is a step that makes a resource, even if the step fails.
func (w *World) Makes(line, what string) error {
	w.Lock()
	w.exists[what] = 1
	w.Unlock()
	return w.Call(line)
}

// Undoes is a step that removes a resource, unless the step fails.
func (w *World) Undoes(line, what string) error {
	if err := w.Call(line); err != nil {
		return err
	}
	w.Lose(what)
	return nil
}

// Add adds n users to a shared resource without a step; a negative n removes users.
func (w *World) Add(what string, n int) {
	w.Lock()
	defer w.Unlock()
	w.exists[what] += n
}

// Lose removes a resource without a step, with all of its users.
func (w *World) Lose(what string) {
	w.Lock()
	defer w.Unlock()
	delete(w.exists, what)
}

// Has reports whether a resource was made and not undone.
func (w *World) Has(what string) bool { return slices.Contains(w.Left(), what) }

// Left returns the resources that were made and not undone, sorted, with the number of users if it
// is not 1.
func (w *World) Left() []string {
	w.Lock()
	defer w.Unlock()
	var left []string
	for what, users := range w.exists {
		switch users {
		case 0:
		case 1:
			left = append(left, what)
		default:
			left = append(left, fmt.Sprintf("%s: %d", what, users))
		}
	}
	slices.Sort(left)
	return left
}

// Fail makes a step fail from now on; a nil error lets it succeed again.
func (w *World) Fail(line string, err error) {
	w.Lock()
	defer w.Unlock()
	w.fail[line] = err
}

// Block makes a step wait until open is called.
func (w *World) Block(line string) (open func()) {
	gate := make(chan struct{})
	w.Lock()
	defer w.Unlock()
	w.gates[line] = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Trace returns the recorded steps, one per line.
func (w *World) Trace() string {
	w.Lock()
	defer w.Unlock()
	return strings.Join(w.trace, "\n")
}

// Forget empties the trace.
func (w *World) Forget() {
	w.Lock()
	defer w.Unlock()
	w.trace = nil
}

// Await waits until a step is in the trace.
func (w *World) Await(t testing.TB, line string) {
	t.Helper()
	for !strings.Contains(w.Trace(), line) {
		if t.Context().Err() != nil {
			t.Fatalf("no %q in:\n%s", line, w.Trace())
		}
		time.Sleep(time.Millisecond)
	}
}
