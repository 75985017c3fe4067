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

// ratio estimates of(a)/of(b) by a hierarchical bootstrap: the rounds are drawn with replacement,
// the same ones for a and b because they ran beside each other, then the samples in each. To draw
// only samples would take those of one round for independent, and the interval would be far too
// narrow on a machine whose speed drifts. With less than three rounds the interval is infinite.
func ratio(of statistic, a, b rounds) estimate {
	e := estimate{of(slices.Concat(a...)) / of(slices.Concat(b...)), math.Inf(-1), math.Inf(1)}
	both := min(len(a), len(b))
	if math.IsInf(e.value, 0) {
		e.value = math.NaN()
	}
	if both < 3 || math.IsNaN(e.value) {
		return e
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same table from the same samples
	values := make([]float64, resamples)
	for i := range values {
		var ofA, ofB samples
		for range both {
			round := random.IntN(both)
			ofA, ofB = draw(random, ofA, a[round]), draw(random, ofB, b[round])
		}
		values[i] = of(ofA) / of(ofB)
	}
	slices.Sort(values)
	e.low, e.high = values[resamples*25/1000], values[resamples*975/1000]
	return e
}

// draw appends a resample of from.
func draw(random *rand.Rand, into, from samples) samples {
	for range from {
		into = append(into, from[random.IntN(len(from))])
	}
	return into
}
