// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/tracing"

	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

const (
	// kept is how long an ended call is remembered, keptCalls how many are, and keptSteps how many
	// steps of each.
	kept      = time.Hour
	keptCalls = 500
	keptSteps = 32
	// keptText is the length in bytes of a remembered text.
	keptText = 512
)

// Call is a call of the CRI.
type Call struct {
	RPC string `json:"rpc"`
	// Objects are the fields of its log line: pod, container, image.
	Objects map[string]string `json:"objects,omitempty"`
	Began   time.Time         `json:"began"`
	// Took is the duration in nanoseconds: until now, if the call is in progress.
	Took  time.Duration `json:"took"`
	Steps []Step        `json:"steps,omitempty"`
	// Created is the ID of the pod or container that the call has created.
	Created string `json:"created,omitempty"`
	// Error is the text of the error that the call returned.
	Error string `json:"error,omitempty"`
}

// Step is a part of a call that waits for something outside the daemon.
type Step struct {
	// Name says what the call waits for, such as "CNI plugin bridge: ADD".
	Name  string        `json:"name"`
	Began time.Time     `json:"began"`
	Took  time.Duration `json:"took"` // as in Call
	Open  bool          `json:"open,omitempty"`
	// Detail is the progress of an open step.
	Detail string `json:"detail,omitempty"`
}

// Waits returns the open step that began first, or nil.
func (c Call) Waits() *Step {
	for i := range c.Steps {
		if c.Steps[i].Open {
			return &c.Steps[i]
		}
	}
	return nil
}

// Log has the calls. The zero value is ready for use; a nil Log remembers nothing.
type Log struct {
	mu      sync.Mutex
	running map[*entry]struct{}
	ended   []*entry // in the order of their end
}

// entry is a call in the log. The lock of the log guards it.
type entry struct {
	log      *Log
	call     Call
	details  map[int]func() string // of the open steps, by index
	open     int                   // steps
	returned bool
	routine  bool
}

type key struct{}

// Begin begins a call. Steps that are begun with the context belong to it. end must be called once,
// when the call returns. A routine call, which the kubelet repeats, is forgotten when it ends.
func (l *Log) Begin(ctx context.Context, rpc string, objects map[string]string, routine bool) (_ context.Context, end func(error)) {
	if l == nil {
		return ctx, func(error) {}
	}
	e := &entry{log: l, routine: routine, call: Call{RPC: rpc, Objects: objects, Began: time.Now()}, details: map[int]func() string{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = map[*entry]struct{}{}
	}
	l.running[e] = struct{}{}
	return context.WithValue(ctx, key{}, e), e.end
}

func (e *entry) end(err error) {
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.returned = true
	e.call.Took = time.Since(e.call.Began)
	if err != nil {
		e.call.Error = clip(err.Error())
	}
	e.settle()
}

// settle moves a call that has returned and has no open step to the ended ones. The caller holds
// the lock.
func (e *entry) settle() {
	l := e.log
	if _, runs := l.running[e]; !runs || !e.returned || e.open > 0 {
		return
	}
	delete(l.running, e)
	if e.routine {
		return
	}
	l.ended = append(l.ended, e)
	oldest := time.Now().Add(-kept)
	for len(l.ended) > keptCalls || len(l.ended) > 0 && l.ended[0].call.Began.Add(l.ended[0].call.Took).Before(oldest) {
		l.ended[0] = nil
		l.ended = l.ended[1:]
	}
}

// resume makes a call that has ended be in progress again: a step of its work begins. The caller
// holds the lock.
func (l *Log) resume(e *entry) {
	if _, runs := l.running[e]; runs {
		return
	}
	l.running[e] = struct{}{}
	l.ended = slices.DeleteFunc(l.ended, func(ended *entry) bool { return ended == e })
}

// Begin begins a step of the call to which ctx belongs, if any. It starts a span in the trace of
// ctx; end ends the span and records the duration of the step in the metrics. end must be called
// when the step ends. detail returns the progress of the step, and may be nil; it must not block.
func Begin(ctx context.Context, w Wait, detail func() string) (end func()) {
	began := time.Now()
	_, span := tracing.StartSpan(ctx, tracing.Name(string(w.For), w.Operation), tracing.WithAttribute("object", w.Object))
	endStep := beginStep(ctx, w.String(), detail)
	return func() {
		endStep()
		span.End()
		metrics.Step(string(w.For), w.Operation, began)
	}
}

func beginStep(ctx context.Context, name string, detail func() string) (end func()) {
	e, ok := ctx.Value(key{}).(*entry)
	if !ok {
		return func() {}
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.open++
	e.log.resume(e)
	if len(e.call.Steps) == keptSteps {
		return func() { e.endStep(-1) }
	}
	e.call.Steps = append(e.call.Steps, Step{Name: clip(name), Began: time.Now(), Open: true})
	i := len(e.call.Steps) - 1
	if detail != nil {
		e.details[i] = detail
	}
	return func() { e.endStep(i) }
}

// endStep ends the step with this index, or one that is not kept.
func (e *entry) endStep(i int) {
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.open--
	if i >= 0 {
		s := &e.call.Steps[i]
		s.Open, s.Took = false, time.Since(s.Began)
		delete(e.details, i)
	}
	e.settle()
}

// Within returns ctx, which outlives the call to which of belongs, as a context of that call.
func Within(ctx, of context.Context) context.Context {
	return context.WithValue(ctx, key{}, of.Value(key{}))
}

// Created records the ID of what the call to which ctx belongs has created.
func Created(ctx context.Context, id string) {
	e, ok := ctx.Value(key{}).(*entry)
	if !ok {
		return
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.call.Created = id
}

// Running returns the calls in progress; the one that began first comes first.
func (l *Log) Running() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Call
	for e := range l.running {
		all = append(all, e.copy())
	}
	slices.SortFunc(all, func(a, b Call) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.RPC, b.RPC)) })
	return all
}

// Ended returns the calls that have ended and are remembered, in the order of their end.
func (l *Log) Ended() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Call
	oldest := time.Now().Add(-kept)
	for _, e := range l.ended {
		if c := e.copy(); c.Began.Add(c.Took).After(oldest) {
			all = append(all, c)
		}
	}
	return all
}

// copy returns the call with the durations until now. The caller holds the lock.
func (e *entry) copy() Call {
	c := e.call
	c.Steps = slices.Clone(c.Steps)
	if !e.returned || e.open > 0 {
		c.Took = time.Since(c.Began)
	}
	for i := range c.Steps {
		if c.Steps[i].Open {
			c.Steps[i].Took = time.Since(c.Steps[i].Began)
		}
	}
	for i, detail := range e.details {
		c.Steps[i].Detail = detail()
	}
	return c
}

func clip(text string) string {
	if len(text) <= keptText {
		return text
	}
	return text[:keptText] + "…"
}
