// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/activity"
)

// TestPodNames checks that calls about removed pods and containers are found by the calls that
// created these.
func TestPodNames(t *testing.T) {
	n := podNames{"p2": "ns/known"}
	n.learn([]activity.Call{
		{RPC: "RunPodSandbox", Objects: map[string]string{"pod": "ns/web"}, Created: "p1"},
		{RPC: "CreateContainer", Objects: map[string]string{"pod": "p1", "container": "main"}, Created: "c1"},
		{RPC: "RunPodSandbox", Objects: map[string]string{"pod": "ns/failed"}},
		{RPC: "RunPodSandbox", Objects: map[string]string{"pod": "ns/known"}, Created: "p2"},
	})
	for _, test := range []struct {
		objects map[string]string
		want    string
	}{
		{map[string]string{"pod": "ns/web"}, "ns/web"},
		{map[string]string{"pod": "p1"}, "ns/web"},
		{map[string]string{"container": "c1"}, "ns/web"},
		{map[string]string{"pod": "p2"}, "ns/known"},
		{map[string]string{"container": "unknown"}, ""},
		{nil, ""},
	} {
		if got := n.of(activity.Call{Objects: test.objects}); got != test.want {
			t.Errorf("%v: %q, want %q", test.objects, got, test.want)
		}
	}
}
