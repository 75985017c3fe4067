// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// metrics counts the calls of plugins. It implements [adaptation.Metrics] with the metrics of the
// built-in CRI (containerd_nri_*), and the status for `crictl info`.
type metrics struct {
	connected atomic.Int64 // number of plugins

	active      prometheus.Gauge
	invocations *prometheus.CounterVec
	adjustments *prometheus.CounterVec
	latency     *prometheus.HistogramVec

	mu      sync.Mutex
	plugins map[string]*PluginStatus // by name
}

func newMetrics() *metrics {
	const space, system = "containerd", "nri"
	return &metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: system, Name: "active_plugins_total", Help: "Number of currently active NRI plugins",
		}),
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: system, Name: "plugin_invocations_total", Help: "Number of NRI plugin invocations",
		}, []string{"plugin", "operation", "status", "error"}),
		adjustments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: system, Name: "plugin_adjustments_total", Help: "Number of adjustment operations from plugins",
		}, []string{"plugin", "operation", "type"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: space, Subsystem: system, Name: "plugin_latency_seconds", Help: "NRI plugin operation latency",
		}, []string{"plugin", "operation"}),
		plugins: map[string]*PluginStatus{},
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.active, m.invocations, m.adjustments, m.latency}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descriptions)
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(values)
	}
}

// register replaces the metrics of containerd's own NRI plugin, which have the same names and stay
// zero.
func (m *metrics) register() error {
	prometheus.Unregister(m)
	return prometheus.Register(m)
}

// Status is the status of the plugins.
type Status struct {
	Enabled bool            `json:"enabled"`
	Socket  string          `json:"socket,omitempty"`
	Active  int64           `json:"active"` // number of plugins
	Plugins []*PluginStatus `json:"plugins,omitempty"`
}

// PluginStatus counts the calls of a plugin since the daemon started. A plugin that was
// disconnected is still in the list.
type PluginStatus struct {
	Name      string        `json:"name"`
	Calls     int64         `json:"calls"`
	Failures  int64         `json:"failures"`
	Slowest   time.Duration `json:"slowestNanos"`
	Total     time.Duration `json:"totalNanos"`
	LastError string        `json:"lastError,omitempty"`
}

// Status returns the status of the plugins.
func (p *Plugins) Status() Status {
	return Status{
		Enabled: !p.options.Config.Disable,
		Socket:  p.options.Config.SocketPath,
		Active:  p.metrics.connected.Load(),
		Plugins: p.metrics.status(),
	}
}

func (m *metrics) status() []*PluginStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*PluginStatus
	for _, name := range slices.Sorted(maps.Keys(m.plugins)) {
		one := *m.plugins[name]
		all = append(all, &one)
	}
	return all
}

// UpdatePluginCount implements [adaptation.Metrics].
func (m *metrics) UpdatePluginCount(count int) {
	m.connected.Store(int64(count))
	m.active.Set(float64(count))
}

// RecordPluginInvocation implements [adaptation.Metrics].
func (m *metrics) RecordPluginInvocation(plugin, operation string, err error) {
	outcome := "success"
	if err != nil {
		outcome = "error"
	}
	m.invocations.WithLabelValues(plugin, operation, outcome, errorType(err)).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.plugin(plugin)
	s.Calls++
	if err != nil {
		s.Failures++
		s.LastError = operation + ": " + bounded(err.Error())
	}
}

// RecordPluginLatency implements [adaptation.Metrics].
func (m *metrics) RecordPluginLatency(plugin, operation string, latency time.Duration) {
	m.latency.WithLabelValues(plugin, operation).Observe(latency.Seconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.plugin(plugin)
	s.Total += latency
	s.Slowest = max(s.Slowest, latency)
}

// RecordPluginAdjustments implements [adaptation.Metrics].
func (m *metrics) RecordPluginAdjustments(plugin, operation string, _ *api.ContainerAdjustment, updates, evictions int) {
	if updates > 0 {
		m.adjustments.WithLabelValues(plugin, operation, "update").Add(float64(updates))
	}
	if evictions > 0 {
		m.adjustments.WithLabelValues(plugin, operation, "evict").Add(float64(evictions))
	}
}

// maxPlugins bounds the status: plugins choose their names.
const maxPlugins = 64

// plugin returns the status of a plugin. With too many of them, the last ones share a status. The
// caller holds m.mu.
func (m *metrics) plugin(name string) *PluginStatus {
	s, known := m.plugins[name]
	if !known && len(m.plugins) >= maxPlugins {
		name = "others"
		s, known = m.plugins[name]
	}
	if !known {
		s = &PluginStatus{Name: name}
		m.plugins[name] = s
	}
	return s
}

// errorType returns the value of the label error, as the built-in CRI has it.
func errorType(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return snakeCase(codes.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return snakeCase(codes.Canceled)
	}
	if s, ok := status.FromError(err); ok {
		return snakeCase(s.Code())
	}
	return "other"
}

// snakeCase returns the name of a code, such as not_found.
func snakeCase(code codes.Code) string {
	var b strings.Builder
	for i, r := range code.String() {
		if r >= 'A' && r <= 'Z' {
			if i > 0 && code != codes.OK {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
