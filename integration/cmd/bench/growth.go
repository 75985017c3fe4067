// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// growthTable presents how measurements grow with the number of pods on a node: a line for each
// measurement and contestant, a column for each size.
type growthTable struct {
	comparison
	sizes []int // ascending
}

// growth is a line of the table.
type growth struct {
	what, unit string
	contestant contestant
	sizes      []int
	of         []rounds // by size, as sizes
}

// slope is the way in which a goal bounds the growth of a measurement.
type slope int

const (
	unbounded slope = iota
	constant        // at the largest size at most maxNext times that of the smallest
	linear          // the exponent is at most maxExponent: n times the answer costs n times as much
)

// Limits of the upper ends of intervals.
const (
	maxNext     = 1.15
	maxExponent = 1.1 // a tenth for what cannot be measured
)

// slopes returns the goals of the project by measurement. Those of calls are about CPU time, which
// drifts less.
func slopes() map[string]slope {
	goals := map[string]slope{"daemon's start to a complete list": linear}
	for _, network := range []string{hostNetwork, cniNetwork} {
		goals["next pod up, "+network] = constant
		goals["CPU of next pod up, "+network] = constant
	}
	for _, call := range []string{"ContainerStatus", "PodSandboxStatus", "ListMetricDescriptors"} {
		goals["CPU of "+call] = constant
	}
	for _, call := range []string{
		"ListPodSandbox", "ListContainers", "ListContainerStats", "ListPodSandboxStats", "StreamPodSandboxMetrics",
	} {
		goals["CPU of "+call] = linear
	}
	return goals
}

// lines returns the lines of all rows that have a size, in the order of their first samples.
func (t growthTable) lines(rows []*row) []growth {
	var lines []growth
	for _, of := range rows {
		if of.pods == 0 || slices.ContainsFunc(lines, func(g growth) bool { return g.what == of.what }) {
			continue
		}
		for _, c := range t.inOrder() {
			line := growth{what: of.what, unit: of.unit, contestant: c, sizes: t.sizes, of: make([]rounds, len(t.sizes))}
			for _, r := range rows {
				if i := slices.Index(t.sizes, r.pods); i >= 0 && r.what == of.what {
					line.of[i] = r.samples[c.name]
				}
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// inOrder returns the contestants with the subject first and the reference last.
func (t growthTable) inOrder() []contestant {
	order := []role{subject, variant, reference}
	return slices.SortedStableFunc(slices.Values(t.contestants), func(a, b contestant) int {
		return slices.Index(order, a.role) - slices.Index(order, b.role)
	})
}

// times returns the ratio of the largest size to the smallest.
func (g growth) times() estimate { return ratio(median, g.of[len(g.of)-1], g.of[0]) }

// exponent fits cost = factor × pods^exponent to the medians. If there are enough sizes, it leaves
// out the smallest, at which a constant part of the cost hides how the rest grows.
func (g growth) exponent() estimate {
	first := 0
	if len(g.sizes) > 2 {
		first = 1
	}
	return resample(func(groups []samples) float64 {
		var x, y []float64
		for i, group := range groups {
			x = append(x, math.Log(float64(g.sizes[first+i])))
			y = append(y, math.Log(median(group)))
		}
		return leastSquares(x, y)
	}, g.of[first:]...)
}

// leastSquares returns the slope of the line that fits points best; NaN if they have no line.
func leastSquares(x, y []float64) float64 {
	meanX, meanY := mean(x), mean(y)
	var xy, xx float64
	for i := range x {
		xy += (x[i] - meanX) * (y[i] - meanY)
		xx += (x[i] - meanX) * (x[i] - meanX)
	}
	return xy / xx
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// cells returns the cells of the line. Stock containerd has no goals.
func (g growth) cells() []string {
	name := g.what
	if g.contestant.role != subject {
		name += ", " + g.contestant.name
	}
	cells := []string{name, g.unit}
	for _, of := range g.of {
		cells = append(cells, number(median(of.all())))
	}
	times, exponent := g.times(), g.exponent()
	cells = append(cells, number(times.value), number(exponent.value))
	bounded, limit, sign := times, maxNext, "× ≤ "
	switch slopes()[g.what] {
	case linear:
		bounded, limit, sign = exponent, maxExponent, "exponent ≤ "
	case unbounded:
		return append(cells, times.bounds(), "", "")
	}
	cells = append(cells, bounded.bounds())
	if g.contestant.role == reference {
		return append(cells, "", "")
	}
	return append(cells, sign+strconv.FormatFloat(limit, 'f', -1, 64), verdictOf(bounded, limit))
}

// verdictOf returns whether the whole interval of an estimate is within its limit.
func verdictOf(e estimate, limit float64) string {
	switch {
	case math.IsNaN(e.value):
		return "not measured"
	case math.IsInf(e.high, 0):
		return "too few rounds"
	default:
		return verdict(e.high <= limit)
	}
}

// print writes the table in Markdown.
func (t growthTable) print(w io.Writer, rows []*row) error {
	head, rule := []string{"medians by number of pods", "unit"}, []string{"---", "---"}
	for _, size := range t.sizes {
		head, rule = append(head, strconv.Itoa(size)), append(rule, "---:")
	}
	head = append(head, fmt.Sprintf("%d/%d", t.sizes[len(t.sizes)-1], t.sizes[0]), "exponent", "95 % interval", "goal", "")
	cells := [][]string{head, append(rule, "---:", "---:", "---:", "---", "---")}
	for _, line := range t.lines(rows) {
		if slices.ContainsFunc(line.of, func(r rounds) bool { return len(r) > 0 }) {
			cells = append(cells, line.cells())
		}
	}
	return write(w, cells)
}

// compared returns the rows that are compared with stock containerd: those of the largest size and
// those without a size.
func (t growthTable) compared(rows []*row) []*row {
	return slices.DeleteFunc(slices.Clone(rows), func(r *row) bool {
		return r.pods != 0 && r.pods != t.sizes[len(t.sizes)-1]
	})
}
