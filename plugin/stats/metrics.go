// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// metric is a row of the tables in metric_*.go: a metric of the kubelet's cAdvisor
// endpoint, by the same name and with the same labels.
type metric struct {
	name, help string
	kind       runtimeapi.MetricType
	labels     []string // after baseLabels
	values     func(s *subject, add addFunc)
}

// addFunc adds a value with those of the labels of the row. Values that are not
// known stay out. The CRI has whole numbers only: a time in seconds is cut off.
type addFunc func(n num, labels ...string)

// baseLabels are the labels of every metric.
var baseLabels = []string{"container", "id", "image", "name", "namespace", "pod"}

// metricGroups are the metrics that are measured when they are asked for; there
// are filesystemMetrics, too.
var metricGroups = [][]metric{
	lifeMetrics, specMetrics, cpuMetrics, memoryMetrics, oomMetrics, hugetlbMetrics, pressureMetrics,
	processMetrics, diskMetrics, networkMetrics,
}

// subject is what one set of metrics is about: a container, the cgroup of a pod,
// or a pod's network.
type subject struct {
	labels           []string // values of baseLabels
	created, started int64    // Unix nanoseconds
	readings
	processes  processReadings
	network    networkReadings
	layer      image.Usage
	filesystem image.Filesystem
}

// gauge is a row with one value.
func gauge(name, help string, get func(s *subject) num) metric {
	return metric{name, help, runtimeapi.MetricType_GAUGE, nil, func(s *subject, add addFunc) { add(get(s)) }}
}

// counter is a row with one value that only grows.
func counter(name, help string, get func(s *subject) num) metric {
	m := gauge(name, help, get)
	m.kind = runtimeapi.MetricType_COUNTER
	return m
}

// seconds turns nanoseconds into whole seconds.
func seconds(n num) num {
	if n == nil {
		return nil
	}
	return value(n.Value / uint64(time.Second))
}

// MetricDescriptors are the metrics that PodMetrics can return (KEP-2371). They
// do not change.
func (c *Collector) MetricDescriptors() []*runtimeapi.MetricDescriptor {
	var all []*runtimeapi.MetricDescriptor
	for _, group := range append(metricGroups[:len(metricGroups):len(metricGroups)], filesystemMetrics) {
		for _, m := range group {
			all = append(all, &runtimeapi.MetricDescriptor{
				Name:      m.name,
				Help:      m.help,
				LabelKeys: slices.Concat(baseLabels, m.labels),
			})
		}
	}
	return all
}

// PodMetrics returns the metrics of a pod and of those of its containers that
// run. As from cAdvisor, a pod has those of the cgroup that the kubelet made for
// it, and those of its network, which have the pod's id as their name.
func (c *Collector) PodMetrics(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxMetrics {
	answer := &runtimeapi.PodSandboxMetrics{PodSandboxId: r.ID}
	if r.Config.GetLinux().GetCgroupParent() != "" {
		answer.Metrics = c.podSubject(r).metrics()
	}
	if n := c.network(r, members); n != nil {
		answer.Metrics = append(answer.Metrics, c.networkSubject(r, *n).append(nil, networkMetrics, live)...)
	}
	for _, member := range members {
		if running(member) {
			answer.ContainerMetrics = append(answer.ContainerMetrics, &runtimeapi.ContainerMetrics{
				ContainerId: member.ID,
				Metrics:     c.containerSubject(r, member).metrics(),
			})
		}
	}
	return answer
}

func (c *Collector) podSubject(r *pod.Record) *subject {
	parent := r.Config.GetLinux().GetCgroupParent()
	return &subject{
		labels:    c.labels(r, parent, "", "", ""),
		created:   r.CreatedAt,
		started:   r.CreatedAt,
		readings:  c.reader.read(parent, full),
		processes: c.reader.processes(parent, 0),
	}
}

// networkSubject has the labels that cAdvisor takes from a pod's pause container. The
// kubelet's pods have a parent; of others the place with the systemd driver is not told.
func (c *Collector) networkSubject(r *pod.Record, n networkReadings) *subject {
	cgroup := spec.CgroupsPath(r.Config.GetLinux().GetCgroupParent(), r.ID, false)
	return &subject{labels: c.labels(r, cgroup, "", "", r.ID), network: n}
}

func (c *Collector) containerSubject(p *pod.Record, r *container.Record) *subject {
	s := &subject{
		labels:    c.labels(p, r.Cgroup, r.Config.GetMetadata().GetName(), r.Image.Name, r.ID),
		created:   r.Times.Created,
		started:   r.Times.Started,
		readings:  c.reader.read(r.Cgroup, full),
		processes: c.reader.processes(r.Cgroup, r.PID),
	}
	if used, ok := c.layers.SnapshotUsage(r.Runtime.Snapshotter, r.ID); ok {
		s.layer = used
	}
	if f, ok := c.layers.Filesystem(r.Runtime.Snapshotter); ok {
		s.filesystem = f
	}
	return s
}

// labels are the values of baseLabels.
func (c *Collector) labels(p *pod.Record, cgroup, container, image, name string) []string {
	meta := p.Config.GetMetadata()
	return []string{container, c.reader.path(cgroup), image, name, meta.GetNamespace(), meta.GetName()}
}

// metrics returns all metrics of a subject.
func (s *subject) metrics() []*runtimeapi.Metric {
	all := make([]*runtimeapi.Metric, 0, 96)
	for _, group := range metricGroups {
		all = s.append(all, group, live)
	}
	return s.append(all, filesystemMetrics, s.filesystem.At.UnixNano())
}

// live is the timestamp of a metric that is measured when it is asked for.
const live = 0

// append appends the metrics of a group.
func (s *subject) append(all []*runtimeapi.Metric, group []metric, at int64) []*runtimeapi.Metric {
	for i := range group {
		m := &group[i]
		m.values(s, func(n num, labels ...string) {
			if n == nil {
				return
			}
			values := s.labels
			if len(labels) > 0 {
				values = slices.Concat(s.labels, labels)
			}
			all = append(all, &runtimeapi.Metric{
				Name: m.name, Timestamp: at, MetricType: m.kind, LabelValues: values, Value: n,
			})
		})
	}
	return all
}
