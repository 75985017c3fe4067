// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// samples are measured values.
type samples []float64

// statistic reduces samples to one number; NaN if there are too few.
type statistic func(samples) float64

// median is NaN without samples.
func median(s samples) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(s)-1)/2] + sorted[len(s)/2]) / 2
}

// manySamples is the smallest number of samples for which a 99th percentile is meaningful.
const manySamples = 50

// p99 is the 99th percentile by the nearest rank, or NaN for fewer than manySamples.
func p99(s samples) float64 {
	if len(s) < manySamples {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(math.Ceil(0.99*float64(len(s))))-1]
}

// estimate is a ratio with its 95 % confidence interval.
type estimate struct {
	value, low, high float64
}

const (
	resamples = 2000 // of the bootstrap
	// precision is the relative half width of an interval that is narrow enough.
	precision = 0.03
)

// spread returns half the width of the interval, relative to the value.
func (e estimate) spread() float64 { return (e.high - e.low) / 2 / e.value }

// narrow reports whether the interval is as narrow as the bench aims for.
func (e estimate) narrow() bool { return e.value == 0 || e.spread() <= precision }

// ratio estimates of(a)/of(b).
func ratio(of statistic, a, b rounds) estimate {
	return resample(func(groups []samples) float64 {
		value := of(groups[0]) / of(groups[1])
		if math.IsInf(value, 0) {
			return math.NaN()
		}
		return value
	}, a, b)
}

// resample estimates a value of several groups of samples by a hierarchical bootstrap: the rounds
// are drawn with replacement, the same ones for all groups because they ran beside each other, then
// the samples in each. To draw only samples would take those of one round for independent, and the
// interval would be far too narrow on a machine whose speed drifts. With less than three rounds
// that have samples of all groups the interval is infinite.
func resample(of func(groups []samples) float64, groups ...rounds) estimate {
	all := make([]samples, len(groups))
	for i, group := range groups {
		all[i] = group.all()
	}
	e := estimate{of(all), math.Inf(-1), math.Inf(1)}
	common := commonRounds(groups)
	if len(common) < 3 || math.IsNaN(e.value) {
		return e
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same table from the same samples
	values := make([]float64, resamples)
	for i := range values {
		drawn := make([]samples, len(groups))
		for range common {
			round := common[random.IntN(len(common))]
			for j, group := range groups {
				drawn[j] = draw(random, drawn[j], group[round])
			}
		}
		values[i] = of(drawn)
	}
	slices.Sort(values)
	e.low, e.high = values[resamples*25/1000], values[resamples*975/1000]
	return e
}

// commonRounds returns the rounds in which all groups have samples.
func commonRounds(groups []rounds) (common []int) {
	for round := range groups[0] {
		if !slices.ContainsFunc(groups, func(g rounds) bool { return round >= len(g) || len(g[round]) == 0 }) {
			common = append(common, round)
		}
	}
	return common
}

// draw appends a resample of from.
func draw(random *rand.Rand, into, from samples) samples {
	for range from {
		into = append(into, from[random.IntN(len(from))])
	}
	return into
}
