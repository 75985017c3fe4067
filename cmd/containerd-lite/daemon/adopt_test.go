// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/adopt"
)

func TestDescribe(t *testing.T) {
	for want, o := range map[string]adopt.Outcome{
		"a/b: adopted by handler runc, keeps running; containers: 2":          {Pod: "a/b", Ready: true, Handler: "runc", Containers: 2},
		"a/b: adopted; it is NotReady already; containers: 1":                 {Pod: "a/b", Handler: "runc", Containers: 1},
		"a/b: not adopted: why; the kubelet will stop it and create it again": {Pod: "a/b", Reason: "why"},
	} {
		if got := describe(o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDescribeHandBack(t *testing.T) {
	for want, p := range map[string]adopt.HandedBack{
		"a/b: keeps running; containers: 2": {Pod: "a/b", Ready: true, Containers: 2},
		"a/b: stays NotReady; containers: 1; with containerd before 2.0: x; with containerd before 2.1: y": {
			Pod: "a/b", Containers: 1, Limits: []adopt.Limit{{Before: "2.0", What: "x"}, {Before: "2.1", What: "y"}},
		},
		"a/b: lost: its record is of an earlier release (start this containerd-lite once)": {Pod: "a/b", Lost: true},
	} {
		if got := describeHandBack(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAdoptNeedsDryRun(t *testing.T) {
	if err := Command().Run(t.Context(), []string{"containerd-lite", "adopt"}); err == nil || !strings.Contains(err.Error(), "--dry-run") {
		t.Errorf("adopt = %v", err)
	}
}
