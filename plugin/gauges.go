// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are the metrics that are read from the managers when they are scraped.
type gauges struct{ *Service }

var (
	callsInProgress = prometheus.NewDesc("containerd_lite_calls_in_progress", "calls of the CRI that have not ended", []string{"rpc"}, nil)
	oldestCall      = prometheus.NewDesc("containerd_lite_oldest_call_age_seconds", "time since the oldest call in progress began, 0 without one; `containerd-lite status` shows what it waits for", nil, nil)
	podStates       = prometheus.NewDesc("containerd_lite_pods", "pods by state", []string{"state"}, nil)
	containerStates = prometheus.NewDesc("containerd_lite_containers", "containers by state", []string{"state"}, nil)
	cleanup         = prometheus.NewDesc("containerd_lite_cleanup_pending", "pods of which a resource could not be released, by resource; the next StopPodSandbox tries again", []string{"resource"}, nil)
)

// Describe implements [prometheus.Collector].
func (gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsInProgress, oldestCall, podStates, containerStates, cleanup} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (g gauges) Collect(values chan<- prometheus.Metric) {
	calls, oldest := map[string]int{}, time.Duration(0)
	for _, c := range g.activity.Running() {
		calls[c.RPC]++
		oldest = max(oldest, c.Took)
	}
	pods, left, containers := map[string]int{}, map[string]int{}, map[string]int{}
	for _, p := range g.pods.List() {
		pods[string(p.State)]++
		for _, resource := range p.Unfinished {
			left[resource]++
		}
	}
	for _, c := range g.containers.List() {
		containers[c.State().String()]++
	}
	values <- prometheus.MustNewConstMetric(oldestCall, prometheus.GaugeValue, oldest.Seconds())
	send(values, callsInProgress, calls)
	send(values, podStates, pods)
	send(values, containerStates, containers)
	send(values, cleanup, left)
}

// send sends a gauge with one value for each label.
func send(values chan<- prometheus.Metric, desc *prometheus.Desc, counts map[string]int) {
	for label, n := range counts {
		values <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), label)
	}
}
