// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

func TestForeignLine(t *testing.T) {
	if line := foreignLine(runtime.Foreign{}); line != "" {
		t.Errorf("line without foreign pods: %q", line)
	}
	for want, f := range map[string]runtime.Foreign{
		"2 pods and 3 containers of containerd's built-in CRI are on this node (a/1, a/2): ":         {Pods: []string{"a/1", "a/2"}, Containers: 3},
		"6 pods and 0 containers of containerd's built-in CRI are on this node (1, 2, 3, 4, 5, …): ": {Pods: []string{"1", "2", "3", "4", "5", "6"}},
	} {
		if line := foreignLine(f); !strings.HasPrefix(line, want) || strings.Contains(line, "\n") {
			t.Errorf("%q, want one line that begins with %q", line, want)
		}
	}
}
