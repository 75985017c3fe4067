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
	r := newRateSampler(Rates{})
	start := time.Unix(1000, 0)
	began := start.Add(-5 * time.Second).UnixNano()
	steps := []struct {
		what string
		at   time.Duration
		used time.Duration
		want num
	}{
		{"first: since the start", 0, time.Second, value(2e8)},
		{"too soon after the first", time.Millisecond, 2 * time.Second, value(2e8)},
		{"half a core", 10 * time.Second, 6 * time.Second, value(5e8)},
		{"too soon: the same rate again", 10*time.Second + 1, 60 * time.Second, value(5e8)},
		{"two cores", 20 * time.Second, 26 * time.Second, value(2e9)},
		{"idle", 30 * time.Second, 26 * time.Second, value(0)},
		{"counter was reset", 40 * time.Second, time.Second, nil},
		{"after that", 50 * time.Second, 2 * time.Second, value(1e8)},
		{"the clock was set back", time.Second, 3 * time.Second, nil},
		{"after that", 11 * time.Second, 8 * time.Second, value(5e8)},
		{"after a long time", time.Hour, 9 * time.Second, nil},
	}
	for _, s := range steps {
		got := r.add("a", began, &runtimeapi.CpuUsage{
			Timestamp:            start.Add(s.at).UnixNano(),
			UsageCoreNanoSeconds: value(uint64(s.used)),
		})
		if d := cmp.Diff(s.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", s.what, d)
		}
	}
}

func TestFirstRate(t *testing.T) {
	now := time.Unix(10000, 0)
	tests := []struct {
		what  string
		rates Rates
		start int64
		want  num
	}{
		{"the counter is new", Rates{}, now.Add(-10 * time.Second).UnixNano(), value(1e8)},
		{"the counter is older", Rates{}, 0, nil},
		{"too new", Rates{}, now.Add(-999 * time.Millisecond).UnixNano(), nil},
		{"too old", Rates{}, now.Add(-11 * time.Minute).UnixNano(), nil},
		{"new, but not for this period", Rates{Period: 20 * time.Second}, now.Add(-10 * time.Second).UnixNano(), nil},
		{"old, but not for this retention", Rates{Retention: time.Hour}, now.Add(-1000 * time.Second).UnixNano(), value(1e6)},
		{"a retention that is shorter than the period", Rates{Period: 10 * time.Second, Retention: time.Second}, now.Add(-20 * time.Second).UnixNano(), value(5e7)},
	}
	for _, tt := range tests {
		got := newRateSampler(tt.rates).add("a", tt.start, &runtimeapi.CpuUsage{
			Timestamp: now.UnixNano(), UsageCoreNanoSeconds: value(1e9),
		})
		if d := cmp.Diff(tt.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, d)
		}
	}
}

func TestOldSamplesAreDropped(t *testing.T) {
	r := newRateSampler(Rates{})
	at := func(d time.Duration) *runtimeapi.CpuUsage {
		return &runtimeapi.CpuUsage{Timestamp: time.Unix(1000, 0).Add(d).UnixNano()}
	}
	r.add("gone", 0, at(0))
	r.add("here", 0, at(0))
	r.add("here", 0, at(9*time.Minute))
	r.add("here", 0, at(18*time.Minute))
	if _, ok := r.samples["gone"]; ok || len(r.samples) != 1 {
		t.Errorf("samples of %d containers, want the one that is still measured", len(r.samples))
	}
}
