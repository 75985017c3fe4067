// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// grown returns the rows of a measurement by containerd-lite that costs cost(pods), with the same
// samples in each of several rounds.
func grown(what string, count int, sizes []int, cost func(pods float64) float64) []*row {
	into := &results{}
	for _, pods := range sizes {
		for round := range count {
			into.add(&session{contestant: "containerd-lite", load: "scale", round: round}, what, pods, "ms", cost(float64(pods)))
		}
	}
	return into.rows
}

func growthOf(what string, count int, sizes []int, cost func(pods float64) float64) growth {
	c := scaleComparison(harness.Options{})
	for _, line := range (growthTable{c, sizes}).lines(grown(what, count, sizes, cost)) {
		if line.contestant.role == subject {
			return line
		}
	}
	panic("no line")
}

var someSizes = []int{10, 100, 250, 500}

func TestExponent(t *testing.T) {
	for name, test := range map[string]struct {
		cost func(pods float64) float64
		want float64
	}{
		"constant":                     {func(float64) float64 { return 7 }, 0},
		"linear":                       {func(pods float64) float64 { return 3 * pods }, 1},
		"square":                       {func(pods float64) float64 { return pods * pods }, 2},
		"linear beyond the first size": {func(pods float64) float64 { return max(pods, 50) }, 1},
	} {
		if got := growthOf("x", 4, someSizes, test.cost).exponent(); math.Abs(got.value-test.want) > 1e-9 {
			t.Errorf("%s: exponent %v, want %v", name, got.value, test.want)
		}
	}
}

// A goal is met only if the whole interval is within its limit, and not without enough rounds.
func TestGrowthGoals(t *testing.T) {
	linear := func(pods float64) float64 { return pods }
	square := func(pods float64) float64 { return pods * pods }
	nearlyConstant := func(pods float64) float64 { return 100 + pods/50 }
	for _, test := range []struct {
		what   string
		rounds int
		cost   func(float64) float64
		want   string
	}{
		{"CPU of ListContainers", 4, linear, "met"},
		{"CPU of ListContainers", 4, square, "MISSED"},
		{"CPU of ListContainers", 2, linear, "too few rounds"},
		{"CPU of ContainerStatus", 4, linear, "MISSED"},
		{"next pod up, CNI", 4, nearlyConstant, "met"},
		{"helpers' memory per pod, PSS", 4, square, ""},
	} {
		cells := growthOf(test.what, test.rounds, someSizes, test.cost).cells()
		if got := cells[len(cells)-1]; got != test.want {
			t.Errorf("%s after %d rounds: %q, want %q: %q", test.what, test.rounds, got, test.want, cells)
		}
	}
}

func TestGrowthTable(t *testing.T) {
	sizes := []int{10, 500}
	rows := slices.Concat(
		grown("CPU of ContainerStatus", 4, sizes, func(float64) float64 { return 0.5 }),
		grown("pod up, start storm", 4, []int{0}, func(float64) float64 { return 7 }))
	table := growthTable{scaleComparison(harness.Options{}), sizes}
	var text strings.Builder
	if err := table.print(&text, rows); err != nil {
		t.Fatal(err)
	}
	const want = `| medians by number of pods | unit |    10 |   500 | 500/10 | exponent | 95 % interval | goal     |     |
| ---                       | ---  |  ---: |  ---: |   ---: |     ---: |          ---: | ---      | --- |
| CPU of ContainerStatus    | ms   | 0.500 | 0.500 |   1.00 |     0.00 |     1.00–1.00 | × ≤ 1.15 | met |
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if got := table.compared(rows); len(got) != 2 || got[0].pods != 500 || got[1].pods != 0 {
		t.Errorf("%d rows are compared with stock containerd, want that of 500 pods and that without a node", len(got))
	}
}

// A round that lacks samples of one size does not count.
func TestResampleLeavesOutIncompleteRounds(t *testing.T) {
	a, b := rounds{{2}, nil, {2}, {2}}, rounds{{1}, {50}, {1}, {1}}
	if e := ratio(median, a, b); e.low != 2 || e.high != 2 {
		t.Errorf("ratio %+v, want 2–2", e)
	}
	if e := ratio(median, a[:3], b); !math.IsInf(e.high, 1) {
		t.Errorf("two complete rounds: %+v, want an infinite interval", e)
	}
}

func TestParseSizes(t *testing.T) {
	got, err := parseSizes("500, 10 10,100")
	if diff := cmp.Diff([]int{10, 100, 500}, got); err != nil || diff != "" {
		t.Errorf("sizes (-want +got), %v:\n%s", err, diff)
	}
	for _, bad := range []string{"ten", "0", "-1"} {
		if _, err := parseSizes(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// The interval of an exponent contains the true one although the speed of the machine drifts.
func TestExponentCoversTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const experiments, truth = 40, 0.8
	covered := 0
	for range experiments {
		speeds := make([]float64, 6)
		for i := range speeds {
			speeds[i] = 1 + 0.3*random.Float64()
		}
		g := growth{sizes: someSizes}
		for _, size := range someSizes {
			g.of = append(g.of, drifting(random, 10*math.Pow(float64(size), truth), speeds))
		}
		if e := g.exponent(); e.low <= truth && truth <= e.high {
			covered++
		}
	}
	if covered < experiments*85/100 {
		t.Errorf("%d of %d intervals contain the true exponent, want 95 %%", covered, experiments)
	}
}
