// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// All shims are asked in parallel: each fake shim answers only after all were asked.
func TestReadFeatures(t *testing.T) {
	r := config.DefaultRuntime()
	r.Containerd.Runtimes = map[string]config.Handler{
		"one":  {Type: "io.containerd.one.v1"},
		"two":  {Type: "io.containerd.two.v1", Options: map[string]any{"BinaryName": "two"}},
		"path": {Type: "io.containerd.one.v1", Path: "/path"},
		"none": {Type: "io.containerd.none.v1"},
	}
	var asked sync.WaitGroup
	asked.Add(len(r.Containerd.Runtimes))
	got := readFeatures(t.Context(), r, func(_ context.Context, h config.Handler) (*features.Features, error) {
		asked.Done()
		asked.Wait()
		if h.Type == "io.containerd.none.v1" {
			return nil, errors.New("not installed")
		}
		return &features.Features{OCIVersionMin: h.Type, OCIVersionMax: h.Path}, nil
	})
	want := map[string]*features.Features{
		"one":  {OCIVersionMin: "io.containerd.one.v1"},
		"two":  {OCIVersionMin: "io.containerd.two.v1"},
		"path": {OCIVersionMin: "io.containerd.one.v1", OCIVersionMax: "/path"},
		"none": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
}

// A panic while a shim is asked leaves its handler without features and does not affect others.
// Equal handlers share the panic.
func TestReadFeaturesContinuesAfterPanic(t *testing.T) {
	r := config.DefaultRuntime()
	r.Containerd.Runtimes = map[string]config.Handler{
		"bad": {Type: "io.containerd.bad.v1"}, "worse": {Type: "io.containerd.bad.v1"}, "good": {Type: "io.containerd.good.v1"},
	}
	got := readFeatures(t.Context(), r, func(_ context.Context, h config.Handler) (*features.Features, error) {
		if h.Type == "io.containerd.bad.v1" {
			panic(h.Type)
		}
		return &features.Features{OCIVersionMin: h.Type}, nil
	})
	want := map[string]*features.Features{"bad": nil, "worse": nil, "good": {OCIVersionMin: "io.containerd.good.v1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
}
