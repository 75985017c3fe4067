// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// results are all samples. Safe for concurrent use.
type results struct {
	mu   sync.Mutex // protects the fields below
	rows []*row     // in the order of their first sample

	leaks []error // of all loads; used by measure alone
}

// row holds the samples of one measurement for each daemon.
type row struct {
	name, unit string
	samples    map[string]samples // by daemon
}

func (r *results) add(name, unit, daemon string, value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{name, unit, map[string]samples{}})
	}
	r.rows[i].samples[daemon] = append(r.rows[i].samples[daemon], value)
}

// samples are the values of all rounds.
type samples []float64

// median returns NaN without samples.
func (s samples) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(s)-1)/2] + sorted[len(s)/2]) / 2
}

// manySamples is the smallest number of samples for which a 99th percentile is meaningful.
const manySamples = 50

// p99 returns the 99th percentile by the nearest rank, or NaN for fewer than manySamples.
func (s samples) p99() float64 {
	if len(s) < manySamples {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(math.Ceil(0.99*float64(len(s))))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
