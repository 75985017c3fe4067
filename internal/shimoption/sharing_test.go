// SPDX-License-Identifier: Apache-2.0

package shimoption

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParsePods(t *testing.T) {
	for _, test := range []struct {
		value  any
		want   Pods
		shared bool
	}{
		{"pod", Pod, false},
		{"node", Node, true},
		{int64(1), Pod, false},
		{int64(16), 16, true},
	} {
		got, err := parsePods(test.value)
		if err != nil || got != test.want || got.Shared() != test.shared {
			t.Errorf("%#v: %d, %v, shared %v; want %d, shared %v", test.value, got, err, got.Shared(), test.want, test.shared)
		}
	}
	for text, value := range map[string]any{
		`"foo"`: "foo", `""`: "", `"Node"`: "Node", `"16"`: "16", "1.5": 1.5, "true": true, "0": int64(0), "-1": int64(-1),
	} {
		if got, err := parsePods(value); !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), text+":") {
			t.Errorf("%s: %d, %v; want an invalid argument that shows the value", text, got, err)
		}
	}
}

func TestFull(t *testing.T) {
	for _, test := range []struct {
		pods Pods
		n    int
		want bool
	}{
		{Pod, 0, false}, {Pod, 1, true}, {0, 1, true}, {16, 15, false}, {16, 16, true}, {16, 17, true}, {Node, 1000, false},
	} {
		if got := test.pods.Full(test.n); got != test.want {
			t.Errorf("limit %d with %d pods: Full = %v", test.pods, test.n, got)
		}
	}
}
