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

func TestAdoptNeedsDryRun(t *testing.T) {
	if err := Command().Run(t.Context(), []string{"containerd-lite", "adopt"}); err == nil || !strings.Contains(err.Error(), "--dry-run") {
		t.Errorf("adopt = %v", err)
	}
}
