// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// A test without a result, because its package ran out of time, counts as failed.
func TestCountsTestsWithoutAResult(t *testing.T) {
	c := &counter{output: map[string]*strings.Builder{}}
	err := c.read(strings.NewReader(`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}
{"Action":"output","Package":"q","Test":"TestB","Output":"still running\n"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q","Test":"TestB"}
{"Action":"pass","Package":"q"}
`))
	if err != nil || c.failed != 1 || c.passed != 1 || len(c.output) != 0 {
		t.Errorf("%d failed, %d passed, %d without a result, %v; want 1, 1, 0", c.failed, c.passed, len(c.output), err)
	}
}
