// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// show returns calls as text: RPC, objects, duration, error, steps.
func show(calls []Call) (lines []string) {
	for _, c := range calls {
		line := fmt.Sprint(c.RPC, " ", c.Objects["pod"], " ", c.Took, " ", c.Error)
		for _, s := range c.Steps {
			line += fmt.Sprint("; ", s.Name, " ", s.Took, " ", s.Open, " ", s.Detail)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Log
		ctx, end := l.Begin(t.Context(), "StopPodSandbox", map[string]string{"pod": "p"}, false)
		time.Sleep(time.Second)
		endCNI := Begin(ctx, Wait{For: CNI, Operation: "ADD", Object: "bridge"}, nil)
		endShim := Begin(Within(context.Background(), ctx), Wait{For: Shim, Operation: "kill", Object: "web"}, func() string { return "half" })
		time.Sleep(time.Second)
		endCNI()
		check(t, "running", l.Running(), "StopPodSandbox p 2s ; CNI plugin bridge: ADD 1s false ; shim of web: kill 1s true half")
		if s := l.Running()[0].Waits(); s == nil || s.Name != "shim of web: kill" {
			t.Errorf("waits for %v", s)
		}
		end(errors.New("deadline"))
		time.Sleep(time.Second)
		// Its work goes on, and a second call joins it.
		_, endSecond := l.Begin(t.Context(), "StopPodSandbox", map[string]string{"pod": "p"}, false)
		check(t, "left", l.Running(), "StopPodSandbox p 3s deadline; CNI plugin bridge: ADD 1s false ; shim of web: kill 2s true half", "StopPodSandbox p 0s ")
		check(t, "ended", l.Ended())
		endShim()
		endSecond(nil)
		check(t, "running", l.Running())
		check(t, "ended", l.Ended(), "StopPodSandbox p 2s deadline; CNI plugin bridge: ADD 1s false ; shim of web: kill 2s false ", "StopPodSandbox p 0s ")
	})
}

func check(t *testing.T, what string, got []Call, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, show(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestRoutine checks that routine calls are not remembered: a probe that fails every second would
// displace all others.
func TestRoutine(t *testing.T) {
	var l Log
	_, end := l.Begin(t.Context(), "ExecSync", nil, true)
	if len(l.Running()) != 1 {
		t.Error("not in progress")
	}
	end(errors.New("broken"))
	if len(l.Running()) != 0 || len(l.Ended()) != 0 {
		t.Errorf("in progress: %v, ended: %v", l.Running(), l.Ended())
	}
}

// TestLateStep checks that a call whose caller has gone is in progress again when its work goes on,
// as the kill after the grace period of a StopContainer.
func TestLateStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Log
		ctx, end := l.Begin(t.Context(), "StopContainer", nil, false)
		end(errors.New("deadline"))
		check(t, "ended", l.Ended(), "StopContainer  0s deadline")
		time.Sleep(time.Second)
		endKill := Begin(ctx, Wait{For: Shim, Operation: "kill", Object: "web"}, nil)
		check(t, "running", l.Running(), "StopContainer  1s deadline; shim of web: kill 0s true ")
		check(t, "ended", l.Ended())
		endKill()
		check(t, "running", l.Running())
		check(t, "ended", l.Ended(), "StopContainer  0s deadline; shim of web: kill 0s false ")
	})
}

// TestBounds checks that neither many calls, nor many steps, nor long texts fill the memory, and
// that calls are forgotten after an hour.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Log
		for range keptCalls + 10 {
			ctx, end := l.Begin(t.Context(), "rpc", nil, false)
			for range keptSteps + 10 {
				Begin(ctx, Wait{For: Shim, Object: strings.Repeat("x", 2*keptText)}, nil)()
			}
			end(errors.New(strings.Repeat("y", 2*keptText)))
		}
		ended := l.Ended()
		if len(ended) != keptCalls || len(ended[0].Steps) != keptSteps || len(ended[0].Error) > keptText+4 || len(ended[0].Steps[0].Name) > keptText+4 {
			t.Errorf("kept %d calls, %d steps, %d and %d bytes", len(ended), len(ended[0].Steps), len(ended[0].Error), len(ended[0].Steps[0].Name))
		}
		time.Sleep(kept + time.Second)
		check(t, "after an hour", l.Ended())
		_, end := l.Begin(t.Context(), "last", nil, false)
		end(nil)
		check(t, "after an hour", l.Ended(), "last  0s ")
	})
}

// TestWithoutCall checks that a step outside of a call is not kept.
func TestWithoutCall(t *testing.T) {
	Begin(t.Context(), Wait{For: Disk, Operation: "recovery"}, nil)()
}

// BenchmarkStep measures a step of a call with its metric, without a trace. A pod's life has about
// 40 steps.
func BenchmarkStep(b *testing.B) {
	var l Log
	ctx, end := l.Begin(b.Context(), "RunPodSandbox", map[string]string{"pod": "p"}, false)
	defer end(nil)
	for b.Loop() {
		Begin(ctx, Wait{For: Shim, Operation: "create", Object: "p"}, nil)()
	}
}

// BenchmarkTracedStep is BenchmarkStep in a call that is traced.
func BenchmarkTracedStep(b *testing.B) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	var l Log
	ctx, span := provider.Tracer("").Start(b.Context(), "RunPodSandbox")
	defer span.End()
	ctx, end := l.Begin(ctx, "RunPodSandbox", map[string]string{"pod": "p"}, false)
	defer end(nil)
	for b.Loop() {
		Begin(ctx, Wait{For: Shim, Operation: "create", Object: "p"}, nil)()
	}
}
