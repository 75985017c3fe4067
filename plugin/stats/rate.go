// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"cmp"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Rates configures how the rate of CPU usage is measured. Zero values mean the defaults.
type Rates struct {
	// Period is the shortest interval that a rate is derived from; a caller that asks more often
	// gets the previous rate again. The default is 1 second.
	Period time.Duration
	// Retention is how long a sample is kept. The kubelet asks every 10 seconds. The default is 10
	// minutes.
	Retention time.Duration
}

const (
	defaultPeriod    = time.Second
	defaultRetention = 10 * time.Minute
)

// rateSampler derives the rate of CPU usage from one sample to the next.
type rateSampler struct {
	period, retention int64 // nanoseconds

	mu      sync.Mutex
	samples map[string]sample // by id of container or pod
	swept   int64             // Unix nanoseconds
}

func newRateSampler(r Rates) *rateSampler {
	period := cmp.Or(r.Period, defaultPeriod)
	retention := max(cmp.Or(r.Retention, defaultRetention), 2*period)
	return &rateSampler{period: int64(period), retention: int64(retention), samples: map[string]sample{}}
}

type sample struct {
	at   int64  // Unix nanoseconds
	used uint64 // CPU nanoseconds
	rate num
}

// add returns the rate since the last sample, in CPU nanoseconds per second. The first rate is that
// since the start of the counter, so that the first call has one: start is in Unix nanoseconds, or
// 0 for a counter that is older. The rate is nil if there is no sample to compare with: after a
// restart of the daemon or of the counter, or when the clock was set back.
func (r *rateSampler) add(id string, start int64, cpu *runtimeapi.CpuUsage) num {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(cpu.Timestamp)
	next := sample{at: cpu.Timestamp, used: cpu.UsageCoreNanoSeconds.GetValue()}
	last, ok := r.samples[id]
	if !ok {
		last.at = start
	}
	interval := next.at - last.at
	switch {
	case next.used < last.used || interval > r.retention || interval < 0:
	case interval < r.period:
		return last.rate
	default:
		perSecond := float64(next.used-last.used) / float64(interval) * float64(time.Second)
		next.rate = value(uint64(perSecond))
	}
	r.samples[id] = next
	return next.rate
}

// sweep drops samples that are older than the retention period.
func (r *rateSampler) sweep(now int64) {
	if now-r.swept < r.retention {
		return
	}
	r.swept = now
	for id, s := range r.samples {
		if now-s.at > r.retention {
			delete(r.samples, id)
		}
	}
}
