// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// measured returns results of one load with the same samples in each of several rounds.
func measured(name string, count int, byContestant map[string]samples) *results {
	into := &results{}
	for contestant, of := range byContestant {
		for round := range count {
			for _, value := range of {
				into.add(&session{contestant: contestant, load: "load", round: round}, name, 0, "ms", value)
			}
		}
	}
	return into
}

func TestTable(t *testing.T) {
	into := measured("ExecSync true", 4, map[string]samples{
		"containerd": {40, 40}, "containerd-lite": {30, 30}, "A/A": {30, 33},
	})
	var text strings.Builder
	if err := (table{againstStock(harness.Options{}, false)}).print(&text, into.rows); err != nil {
		t.Fatal(err)
	}
	const want = `| medians            | unit | containerd | containerd-lite | ratio |    95 % interval | p99 containerd | p99 containerd-lite | goal  |     |
| ---                | ---  |       ---: |            ---: |  ---: |             ---: |           ---: |                ---: | ---   | --- |
| ExecSync true      | ms   |       40.0 |            30.0 | 0.750 |      0.750–0.750 |                |                     | ≤ 0.8 | met |
| A/A: ExecSync true | ms   |       30.0 |            31.5 |  1.05 | 1.00–1.10 (±5 %) |                |                     |       |     |
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// A peer has a column, also for lines that it has no samples of.
func TestTableWithPeers(t *testing.T) {
	into := measured("CreateContainer", 4, map[string]samples{"containerd": {40}, "containerd-lite": {30}, "CRI-O": {50}})
	into.rows = append(into.rows, measured("StartContainer", 4, map[string]samples{"containerd": {40}, "containerd-lite": {30}}).rows...)
	var text strings.Builder
	if err := (table{againstStock(harness.Options{}, true)}).print(&text, into.rows); err != nil {
		t.Fatal(err)
	}
	const want = `| medians         | unit | containerd | containerd-lite | ratio | 95 % interval | p99 containerd | p99 containerd-lite | CRI-O | goal |  |
| ---             | ---  |       ---: |            ---: |  ---: |          ---: |           ---: |                ---: |  ---: | ---  | --- |
| CreateContainer | ms   |       40.0 |            30.0 | 0.750 |   0.750–0.750 |                |                     |  50.0 |      |  |
| StartContainer  | ms   |       40.0 |            30.0 | 0.750 |   0.750–0.750 |                |                     |       |      |  |
`
	if diff := cmp.Diff(want, strings.ReplaceAll(text.String(), " |     |\n", " |  |\n")); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// A goal is met only if the whole interval is on the right side.
func TestGoalWithInterval(t *testing.T) {
	of := func(name string, lite ...samples) string {
		reference := rounds{{100}, {100}, {100}, {100}}
		g, ok := goalOf(name)
		if !ok {
			t.Fatalf("%s has no goal", name)
		}
		return g.mark(line{name: name, reference: reference, subject: lite, of: median})
	}
	for _, test := range []struct {
		line string
		lite []samples
		want string
	}{
		{"ExecSync true", []samples{{70}, {70}, {70}, {70}}, "met"},
		{"ExecSync true", []samples{{70}, {70}, {70}, {95}}, "MISSED"},
		{"ExecSync true", []samples{{70}}, "too few rounds"},
		{"ExecSync true", nil, "not measured"},
		{"pods per second, ten in flight, CNI", []samples{{200}, {200}, {200}, {200}}, "met"},
		{"pods per second, ten in flight, CNI", []samples{{200}, {200}, {120}, {120}}, "MISSED"},
		{"ListPodSandboxStats, a pod without cgroup parent", []samples{{0}}, "met"},
	} {
		if got := of(test.line, test.lite...); got != test.want {
			t.Errorf("%s, %v: %q, want %q", test.line, test.lite, got, test.want)
		}
	}
}

func TestSettled(t *testing.T) {
	against := table{againstStock(harness.Options{}, false)}
	steady := map[string]samples{"containerd": {40}, "containerd-lite": {30}, "A/A": {30}}
	if !measured("ExecSync true", 4, steady).settled("load", against) {
		t.Error("the same value in each round: not settled")
	}
	if measured("ExecSync true", 2, steady).settled("load", against) {
		t.Error("settled after two rounds")
	}
	wide := measured("ExecSync true", 4, steady)
	wide.add(&session{contestant: "containerd-lite", load: "load", round: 1}, "ExecSync true", 0, "ms", 50)
	wide.add(&session{contestant: "containerd-lite", load: "load", round: 1}, "ExecSync true", 0, "ms", 60)
	if wide.settled("load", against) {
		t.Error("settled with values between 30 and 60")
	}
	if !measured("without a goal", 1, steady).settled("load", against) {
		t.Error("not settled without a goal")
	}
}

// In each pair of rounds every contestant is once before and once behind each other.
func TestOrderOfContestants(t *testing.T) {
	c := againstStock(harness.Options{}, false)
	var orders []string
	for round := range 4 {
		var names []string
		for _, one := range c.of(load{}, round) {
			names = append(names, one.name)
		}
		orders = append(orders, strings.Join(names, " "))
	}
	want := []string{
		"containerd containerd-lite A/A", "A/A containerd-lite containerd",
		"containerd-lite A/A containerd", "containerd A/A containerd-lite",
	}
	if diff := cmp.Diff(want, orders); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	if got := len(c.of(load{variants: []string{sharingNode}, once: true}, 0)); got != 3 {
		t.Errorf("a load with a variant and without A/A has %d contestants, want 3", got)
	}
}
