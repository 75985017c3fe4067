// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"io"
	"testing"
)

// broken is a destination whose Write panics.
type broken struct{ io.WriteCloser }

func (broken) Write([]byte) (int, error) { panic("boom") }

// TestPanicInAStream checks that a panic in one output calls Broken, and that the other output is
// still copied.
func TestPanicInAStream(t *testing.T) {
	children := newReaper(t)
	out, _ := fifo(t)
	errPath, stderr := fifo(t)
	called := make(chan struct{})
	p := &process{t: t, streams: New(Config{Stdout: out, Stderr: errPath})}
	owner := Owner{ID: "web", Namespace: "ns", Broken: func() { close(called) }}
	if err := p.streams.Open(t.Context(), owner, children); err != nil {
		t.Fatal(err)
	}
	p.streams.pumps[0].dst = broken{p.streams.pumps[0].dst}
	p.start(children, "echo one; echo two >&2")
	<-called
	p.finish()
	if got := readAll(t, stderr); got != "two\n" {
		t.Errorf("stderr = %q, want the output", got)
	}
}
