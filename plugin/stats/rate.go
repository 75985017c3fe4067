// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// minInterval is the shortest time that a rate is derived from; who asks more
	// often gets the last one again.
	minInterval = time.Second
	// maxInterval is how long a sample is kept. The kubelet asks every 10 s.
	maxInterval = 10 * time.Minute
)

// rates derives the rate of CPU usage from one sample to the next.
type rates struct {
	mu      sync.Mutex
	samples map[string]sample // by id of container or pod
	swept   int64
}

type sample struct {
	at   int64  // Unix nanoseconds
	used uint64 // CPU nanoseconds
	rate *runtimeapi.UInt64Value
}

// add returns the rate since the last sample, in CPU nanoseconds per second; nil
// for the first and when the counter started again.
func (r *rates) add(id string, cpu *runtimeapi.CpuUsage) *runtimeapi.UInt64Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(cpu.Timestamp)
	next := sample{at: cpu.Timestamp, used: cpu.UsageCoreNanoSeconds.GetValue()}
	last, ok := r.samples[id]
	interval := next.at - last.at
	switch {
	case !ok || next.used < last.used || interval > int64(maxInterval):
	case interval < int64(minInterval):
		return last.rate
	default:
		perSecond := float64(next.used-last.used) / float64(interval) * float64(time.Second)
		next.rate = value(uint64(perSecond))
	}
	r.samples[id] = next
	return next.rate
}

// sweep forgets who was not asked for lately: they are gone.
func (r *rates) sweep(now int64) {
	if now-r.swept < int64(maxInterval) {
		return
	}
	r.swept = now
	for id, s := range r.samples {
		if now-s.at > int64(maxInterval) {
			delete(r.samples, id)
		}
	}
}
