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

// metric is a row of the tables in metric_*.go: a metric of the kubelet's cAdvisor endpoint, with
// the same name and labels.
type metric struct {
	name, help string
	kind       runtimeapi.MetricType
	labels     []string // after baseLabels
	values     func(s *subject, add addFunc)
}

// addFunc adds a value with the values of the row's labels. Unknown values are left out. The CRI
// has integers only, so a time is truncated to seconds.
type addFunc func(n num, labels ...string)

// baseLabels are the labels of every metric.
var baseLabels = []string{"container", "id", "image", "name", "namespace", "pod"}

// metricGroups are the metrics that are measured when the kubelet asks. filesystemMetrics, which
// are sampled, come in addition.
var metricGroups = [][]metric{
	lifeMetrics, specMetrics, cpuMetrics, memoryMetrics, oomMetrics, hugetlbMetrics, pressureMetrics,
	processMetrics, diskMetrics, networkMetrics,
}

// subject is the object of one set of metrics: a container, the cgroup of a pod, or the network of
// a pod.
type subject struct {
	labels           []string // values of baseLabels
	created, started int64    // Unix nanoseconds
	readings
	processes  processReadings
	network    networkReadings
	layer      image.Usage
	filesystem image.Filesystem
}

// gauge returns a row with one value.
func gauge(name, help string, get func(s *subject) num) metric {
	return metric{name, help, runtimeapi.MetricType_GAUGE, nil, func(s *subject, add addFunc) { add(get(s)) }}
}

// counter returns a row with one value that only grows.
func counter(name, help string, get func(s *subject) num) metric {
	m := gauge(name, help, get)
	m.kind = runtimeapi.MetricType_COUNTER
	return m
}

// seconds converts nanoseconds into whole seconds.
func seconds(n num) num {
	if n == nil {
		return nil
	}
	return value(n.Value / uint64(time.Second))
}

// MetricDescriptors returns the metrics that PodMetrics returns on this node (KEP-2371). They do
// not change.
func (c *Collector) MetricDescriptors() []*runtimeapi.MetricDescriptor {
	return metricDescriptors(c.reader.measures)
}

// metricDescriptors returns the descriptors of the metrics whose names match.
func metricDescriptors(match func(name string) bool) []*runtimeapi.MetricDescriptor {
	var all []*runtimeapi.MetricDescriptor
	for _, group := range append(metricGroups[:len(metricGroups):len(metricGroups)], filesystemMetrics) {
		for _, m := range group {
			if match(m.name) {
				all = append(all, &runtimeapi.MetricDescriptor{Name: m.name, Help: m.help, LabelKeys: slices.Concat(baseLabels, m.labels)})
			}
		}
	}
	return all
}

// PodMetrics returns the metrics of a pod and of its running containers. As from cAdvisor, the pod
// has the metrics of the cgroup that the kubelet made for it, and those of its network, whose label
// name is the pod's id.
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

// networkSubject returns the network of a pod with the labels that cAdvisor takes from the pod's
// pause container. The id of a pod without cgroup_parent, which no kubelet creates, is that of the
// cgroupfs driver.
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

// labels returns the values of baseLabels.
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

// live is the timestamp of a metric that is measured on request.
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
