// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"github.com/prometheus/client_golang/prometheus"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// gauges are the metrics that are read from the managers when they are scraped.
type gauges struct{ *Service }

var (
	callsInProgress = prometheus.NewDesc("containerd_lite_calls_in_progress", "calls of the CRI that have not ended", []string{"rpc"}, nil)
	oldestCall      = prometheus.NewDesc("containerd_lite_oldest_call_age_seconds", "time since the oldest call in progress began; `containerd-lite status` shows what it waits for", []string{"rpc"}, nil)
	podStates       = prometheus.NewDesc("containerd_lite_pods", "pods by state", []string{"state"}, nil)
	containerStates = prometheus.NewDesc("containerd_lite_containers", "containers by state", []string{"state"}, nil)
	cleanup         = prometheus.NewDesc("containerd_lite_cleanup_pending", "pods whose teardown has a step left, by step; the next StopPodSandbox tries again", []string{"step"}, nil)
)

// Describe implements [prometheus.Collector].
func (gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsInProgress, oldestCall, podStates, containerStates, cleanup} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (g gauges) Collect(values chan<- prometheus.Metric) {
	calls, oldest := map[string]float64{}, map[string]float64{}
	for _, c := range g.activity.Running() {
		calls[c.RPC]++
		oldest[c.RPC] = max(oldest[c.RPC], c.Took.Seconds())
	}
	pods, containers, left := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, state := range []pod.State{pod.Creating, pod.Ready, pod.Stopping, pod.Stopped} {
		pods[string(state)] = 0
	}
	for _, state := range runtimeapi.ContainerState_name {
		containers[state] = 0
	}
	for _, step := range pod.Steps() {
		left[step] = 0
	}
	for _, p := range g.pods.List() {
		pods[string(p.State)]++
		for _, step := range p.Unfinished {
			left[step]++
		}
	}
	for _, c := range g.containers.List() {
		containers[c.State().String()]++
	}
	send(values, callsInProgress, calls)
	send(values, oldestCall, oldest)
	send(values, podStates, pods)
	send(values, containerStates, containers)
	send(values, cleanup, left)
}

// send sends a gauge with one value for each label.
func send(values chan<- prometheus.Metric, desc *prometheus.Desc, byLabel map[string]float64) {
	for label, value := range byLabel {
		values <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, label)
	}
}
