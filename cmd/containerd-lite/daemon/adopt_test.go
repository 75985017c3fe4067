// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/adopt"
)

func TestDescribe(t *testing.T) {
	for want, o := range map[string]adopt.Outcome{
		"a/b: adopted, runs on in handler runc; 2 containers":                              {Pod: "a/b", Ready: true, Handler: "runc", Containers: 2},
		"a/b: adopted, NotReady as it is; 1 containers":                                    {Pod: "a/b", Handler: "runc", Containers: 1},
		"a/b: not adopted: adopt: why; it will be NotReady and can be stopped and removed": {Pod: "a/b", Reason: "adopt: why"},
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
