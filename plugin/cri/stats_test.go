// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"slices"
	"testing"
)

func TestMeasureEach(t *testing.T) {
	var records, want []int
	for i := range 100 * measuring {
		records, want = append(records, i), append(want, -i)
	}
	got := measureEach(records, func(i int) int { return -i })
	if !slices.Equal(got, want) {
		t.Errorf("%v is not in the order of the records", got)
	}
}
