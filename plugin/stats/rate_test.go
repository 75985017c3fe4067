// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestRate(t *testing.T) {
	r := rates{samples: map[string]sample{}}
	start := time.Unix(1000, 0)
	steps := []struct {
		what string
		at   time.Duration
		used time.Duration
		want *runtimeapi.UInt64Value
	}{
		{"first", 0, time.Second, nil},
		{"too soon after the first", time.Millisecond, 2 * time.Second, nil},
		{"half a core", 10 * time.Second, 6 * time.Second, value(5e8)},
		{"too soon: the last again", 10*time.Second + 1, 60 * time.Second, value(5e8)},
		{"two cores", 20 * time.Second, 26 * time.Second, value(2e9)},
		{"idle", 30 * time.Second, 26 * time.Second, value(0)},
		{"counter started again", 40 * time.Second, time.Second, nil},
		{"after that", 50 * time.Second, 2 * time.Second, value(1e8)},
		{"after a long time", time.Hour, 3 * time.Second, nil},
	}
	for _, s := range steps {
		got := r.add("a", &runtimeapi.CpuUsage{
			Timestamp:            start.Add(s.at).UnixNano(),
			UsageCoreNanoSeconds: value(uint64(s.used)),
		})
		if d := cmp.Diff(s.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", s.what, d)
		}
	}
}

func TestRatesForget(t *testing.T) {
	r := rates{samples: map[string]sample{}}
	at := func(d time.Duration) *runtimeapi.CpuUsage {
		return &runtimeapi.CpuUsage{Timestamp: time.Unix(1000, 0).Add(d).UnixNano()}
	}
	r.add("gone", at(0))
	r.add("here", at(0))
	r.add("here", at(9*time.Minute))
	r.add("here", at(18*time.Minute))
	if _, ok := r.samples["gone"]; ok || len(r.samples) != 1 {
		t.Errorf("samples of %d containers, want the one that is asked for", len(r.samples))
	}
}
