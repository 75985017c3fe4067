// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ErrPanic as the error of [World.Fail] makes a step panic.
var ErrPanic = errors.New("the step panics")

// World is everything around a manager. Its methods may be called concurrently;
// embedded in a fake, it is the fake's lock, too.
type World struct {
	sync.Mutex
	trace  []string
	fail   map[string]error
	gates  map[string]chan struct{}
	exists map[string]bool
}

// NewWorld returns a world with nothing in it.
func NewWorld() *World {
	return &World{
		fail:   map[string]error{},
		gates:  map[string]chan struct{}{},
		exists: map[string]bool{},
	}
}

// Call is a step that leaves nothing behind.
func (w *World) Call(line string) error {
	w.Lock()
	w.trace = append(w.trace, line)
	w.Unlock()
	return w.Ask(line)
}

// Ask is a step that is not taken down.
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

// Makes is a step that leaves something behind, even when it fails half way.
func (w *World) Makes(line, what string) error {
	w.Lock()
	w.exists[what] = true
	w.Unlock()
	return w.Call(line)
}

// Undoes is a step that takes something away, unless it fails.
func (w *World) Undoes(line, what string) error {
	if err := w.Call(line); err != nil {
		return err
	}
	w.Lose(what)
	return nil
}

// Lose takes something away without a step.
func (w *World) Lose(what string) {
	w.Lock()
	defer w.Unlock()
	delete(w.exists, what)
}

// Has tells whether something was made and not undone.
func (w *World) Has(what string) bool { return slices.Contains(w.Left(), what) }

// Left is what was made and not undone, sorted.
func (w *World) Left() []string {
	w.Lock()
	defer w.Unlock()
	var left []string
	for what := range w.exists {
		left = append(left, what)
	}
	slices.Sort(left)
	return left
}

// Fail makes a step fail from now on; nil ends that.
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

// Trace is the steps so far, a line each.
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
