// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	namespace = "containerd"
	cri       = "cri"
	images    = "cri_sandboxed" // the name that containerd gave it

	runtime   = "runtime"
	operation = "operation_type"
)

// Durations of successful calls. The label runtime is the runtime type, such as
// io.containerd.lite.v2; that of SandboxStop and SandboxRemove is the requested handler.
var (
	SandboxList     = newTimer("sandbox_list", "time to list sandboxes")
	SandboxStream   = newTimer("stream_sandbox_list", "time to stream sandboxes")
	SandboxCreate   = newTimers("sandbox_runtime_create", "time to create a sandbox in the runtime", runtime)
	SandboxStop     = newTimers("sandbox_runtime_stop", "time to stop a sandbox", runtime)
	SandboxRemove   = newTimers("sandbox_remove", "time to remove a sandbox", runtime)
	ContainerList   = newTimer("container_list", "time to list containers")
	ContainerStream = newTimer("stream_container_list", "time to stream containers")
	ContainerCreate = newTimers("container_create", "time to create a container", runtime)
	ContainerStart  = newTimers("container_start", "time to start a container", runtime)
	ContainerStop   = newTimers("container_stop", "time to stop a container", runtime)
	ContainerRemove = newTimers("container_remove", "time to remove a container", runtime)
)

// EventsDropped counts the container events that no subscriber received.
var EventsDropped = newCounter("container_events_dropped_total", "count container discarding event total from server start")

var (
	networkCreate   = newTimer("sandbox_create_network", "time to create the network for a sandbox")
	networkDelete   = newTimer("sandbox_delete_network", "time to delete a sandbox's network")
	networkCalls    = newCounters(cri, "network_plugin_operations_total_total", "cumulative number of network plugin operations by operation type", operation)
	networkErrors   = newCounters(cri, "network_plugin_operations_errors_total_total", "cumulative number of network plugin operations by operation type", operation)
	networkDuration = newTimers("network_plugin_operations_duration_seconds", "latency in seconds of network plugin operations. Broken down by operation type", operation)

	imagePulls      = newCounters(images, "image_pulls_total", "succeeded and failed counters", "status")
	pullsInProgress = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: images, Name: "in_progress_image_pulls_total", Help: "in progress pulls",
	})
	oldPullThroughput = newThroughput("image_pulling_throughput", prometheus.DefBuckets)
	pullThroughput    = newThroughput("image_pulling_throughput_mibps", []float64{0.1, 1, 10, 25, 75, 150, 300, 500, 1000, 2000, 4000})
)

// Register makes containerd serve the metrics. It must be called once in a process.
func Register() {
	prometheus.MustRegister(
		SandboxList, SandboxStream, SandboxCreate, SandboxStop, SandboxRemove,
		ContainerList, ContainerStream, ContainerCreate, ContainerStart, ContainerStop, ContainerRemove, EventsDropped,
		networkCreate, networkDelete, networkCalls, networkErrors, networkDuration,
		imagePulls, pullsInProgress, oldPullThroughput, pullThroughput,
		steps, Exits, joined, reloads, pulledBytes, TasksReplaced, panics,
	)
	for _, status := range []string{success, failure} {
		reloads.WithLabelValues(status) // rate() misses the event that creates a counter
	}
}

func newTimer(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(timerOpts(name, help))
}

func newTimers(name, help, label string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(timerOpts(name, help), []string{label})
}

func timerOpts(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: namespace, Subsystem: cri, Name: name + "_seconds", Help: help}
}

func newCounter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: cri, Name: name, Help: help})
}

func newCounters(subsystem, name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, []string{label})
}

func newThroughput(name string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: images, Name: name, Buckets: buckets,
		Help: "image pull throughput in MiB/s (fetched bytes / pull duration; cached layers excluded)",
	})
}

// Since records the time since start, in seconds.
func Since(o prometheus.Observer, start time.Time) { o.Observe(time.Since(start).Seconds()) }

// NetworkOperation is the value of the label operation_type.
type NetworkOperation string

// Operations of CNI plugins.
const (
	NetworkSetUp    NetworkOperation = "set_up_pod"
	NetworkTearDown NetworkOperation = "tear_down_pod"
	NetworkStatus   NetworkOperation = "get_pod_network_status"
)

// CountNetwork records an operation of CNI plugins that began at start.
func CountNetwork(op NetworkOperation, start time.Time, err error) {
	networkCalls.WithLabelValues(string(op)).Inc()
	Since(networkDuration.WithLabelValues(string(op)), start)
	switch {
	case err != nil:
		networkErrors.WithLabelValues(string(op)).Inc()
	case op == NetworkSetUp:
		Since(networkCreate, start)
	case op == NetworkTearDown:
		Since(networkDelete, start)
	}
}

const mebibyte = 1 << 20

// StartPull records the begin of a pull. The result records its end: how many bytes were fetched,
// and its error.
func StartPull() (end func(fetched uint64, err error)) {
	start := time.Now()
	pullsInProgress.Inc()
	return func(fetched uint64, err error) {
		pullsInProgress.Dec()
		pulledBytes.Add(float64(fetched))
		if err != nil {
			imagePulls.WithLabelValues("failure").Inc()
			return
		}
		imagePulls.WithLabelValues("success").Inc()
		if took := time.Since(start).Seconds(); fetched > 0 && took > 0 {
			rate := float64(fetched) / mebibyte / took
			oldPullThroughput.Observe(rate)
			pullThroughput.Observe(rate)
		}
	}
}
