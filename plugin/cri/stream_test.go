// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"math"
	"testing"
	"time"
)

// TestSeconds checks that no timeout of the CRI overflows into another sign.
func TestSeconds(t *testing.T) {
	for n, want := range map[int64]time.Duration{
		math.MinInt64: 0, -1: 0, 0: 0, 1: time.Second, 1 << 33: 1 << 33 * time.Second,
	} {
		if got := seconds(n); got != want {
			t.Errorf("%d seconds are %s, want %s", n, got, want)
		}
	}
	if got := seconds(math.MaxInt64); got < 200*365*24*time.Hour {
		t.Errorf("%d seconds are %s", int64(math.MaxInt64), got)
	}
}
