// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// own is the prefix of the metrics that the built-in CRI does not have.
const own = "containerd_lite"

var (
	steps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: own, Name: "step_duration_seconds",
		Help:    "time that the daemon waited for something outside of it. peer is shim, disk, cni, nri or registry",
		Buckets: []float64{0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300},
	}, []string{"peer", "operation"})

	// Exits counts the ends of containers. The label is one of the reasons of package container.
	Exits = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: own, Name: "container_exits_total",
		Help: "containers that have ended, by the reason in their status",
	}, []string{"reason"})

	joined = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: own, Name: "calls_joined_total",
		Help: "calls that joined the work of an equal one, most of them retries of a caller that gave up",
	}, []string{"call"})

	reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: own, Name: "config_reloads_total",
		Help: "reloads of config.toml, by status: success or failure",
	}, []string{"status"})

	pulledBytes = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: own, Name: "pulled_bytes_total", Help: "bytes that pulls received from registries",
	})

	// TasksReplaced counts the restarted tasks of pods. The task of a pod ends when its shim dies;
	// one shim that serves many pods counts once for each pod.
	TasksReplaced = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: own, Name: "pod_shims_replaced_total", Help: "pods whose task was restarted because it had ended, usually with its shim",
	})

	panics = prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: own, Name: "panics_total", Help: "panics that were caught; each is a bug, and its stack is in the log",
	}, func() float64 { return float64(guard.Count()) })
)

// Values of the label status.
const (
	success = "success"
	failure = "failure"
)

// Step records a step that began at start, and ends now. operation is one of few.
func Step(peer, operation string, start time.Time) {
	Since(steps.WithLabelValues(peer, operation), start)
}

// Joined returns a function that counts a call that joined the work of another.
func Joined(call string) func() { return joined.WithLabelValues(call).Inc }

// Reload counts a reload of config.toml.
func Reload(err error) {
	status := success
	if err != nil {
		status = failure
	}
	reloads.WithLabelValues(status).Inc()
}
