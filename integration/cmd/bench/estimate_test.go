// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// drifting returns rounds of samples around value, in which each round has its own speed.
func drifting(random *rand.Rand, value float64, speeds []float64) rounds {
	var r rounds
	for _, speed := range speeds {
		var s samples
		for range 10 {
			s = append(s, value*speed*(1+0.05*random.NormFloat64()))
		}
		r = append(r, s)
	}
	return r
}

// The interval of a ratio must contain the true ratio nearly always, also when the speed of the
// machine drifts from round to round by far more than the interval is wide.
func TestRatioCoversTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const experiments, truth = 60, 0.5
	covered, narrow := 0, 0
	for range experiments {
		speeds := make([]float64, 10)
		for i := range speeds {
			speeds[i] = 1 + 0.3*random.Float64()
		}
		e := ratio(median, drifting(random, 100*truth, speeds), drifting(random, 100, speeds))
		if e.low <= truth && truth <= e.high {
			covered++
		}
		if e.spread() < 0.1 {
			narrow++
		}
	}
	if covered < experiments*90/100 {
		t.Errorf("%d of %d intervals contain the true ratio, want 95 %%", covered, experiments)
	}
	if narrow < experiments*90/100 {
		t.Errorf("%d of %d intervals are narrower than ±10 %%, want nearly all", narrow, experiments)
	}
}

func TestRatioWithoutInterval(t *testing.T) {
	few := rounds{{1, 2}, {2, 3}}
	if e := ratio(median, few, few); e.value != 1 || !math.IsInf(e.high, 1) || e.narrow() {
		t.Errorf("two rounds: %+v, want the ratio 1 with an infinite interval", e)
	}
	if e := ratio(median, few, nil); !math.IsNaN(e.value) || e.narrow() {
		t.Errorf("no reference: %+v, want NaN", e)
	}
	if e := ratio(p99, few, few); !math.IsNaN(e.value) {
		t.Errorf("p99 of four samples: %+v, want NaN", e)
	}
}

func TestStatistics(t *testing.T) {
	var hundred samples
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	if got := median(hundred); got != 50.5 {
		t.Errorf("median of 1 to 100: %v", got)
	}
	if got := p99(hundred); got != 99 {
		t.Errorf("p99 of 1 to 100: %v", got)
	}
}
