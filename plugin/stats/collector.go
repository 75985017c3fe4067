// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"time"

	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// Layers returns the sampled disk usage of the writable layers of containers.
type Layers interface {
	// SnapshotUsage returns false for a snapshot that was not measured yet.
	SnapshotUsage(snapshotter, key string) (image.Usage, bool)
	// SnapshotsRoot returns the directory of a snapshotter, or "" if it is not known.
	SnapshotsRoot(snapshotter string) string
	// Filesystem returns the file system of that directory, or false if it was not measured yet.
	Filesystem(snapshotter string) (image.Filesystem, bool)
}

// Collector answers the stats calls of the CRI.
type Collector struct {
	reader *Reader
	layers Layers
	rates  *rateSampler
}

// NewCollector returns a Collector that has no samples yet.
func NewCollector(reader *Reader, layers Layers, r Rates) *Collector {
	return &Collector{reader: reader, layers: layers, rates: newRateSampler(r)}
}

// ContainerStats measures a container. A container that is not running has attributes and a
// writable layer only.
func (c *Collector) ContainerStats(r *container.Record) *runtimeapi.ContainerStats {
	answer, _ := c.container(r)
	return answer
}

func (c *Collector) container(r *container.Record) (*runtimeapi.ContainerStats, Usage) {
	answer := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id:          r.ID,
			Metadata:    r.Config.GetMetadata(),
			Labels:      r.Config.GetLabels(),
			Annotations: r.Config.GetAnnotations(),
		},
		WritableLayer: c.writableLayer(r),
	}
	if !running(r) {
		return answer, Usage{}
	}
	u := c.reader.Usage(r.Cgroup)
	c.addRate(r.ID, r.Times.Started, u)
	answer.Cpu, answer.Memory, answer.Swap, answer.Io = u.CPU, u.Memory, u.Swap, u.IO
	return answer, u
}

// addRate sets the rate of CPU usage in u; see [rateSampler.add].
func (c *Collector) addRate(id string, start int64, u Usage) {
	if u.CPU != nil {
		u.CPU.UsageNanoCores = c.rates.add(id, start, u.CPU)
	}
}

func (c *Collector) writableLayer(r *container.Record) *runtimeapi.FilesystemUsage {
	// A layer that was created after the last sample is at least an empty directory.
	layer := &runtimeapi.FilesystemUsage{Timestamp: time.Now().UnixNano(), UsedBytes: value(0), InodesUsed: value(1)}
	// If the kubelet cannot stat a mount point, it lists no pods at all, so an unknown mount point
	// is left out.
	if root := c.layers.SnapshotsRoot(r.Runtime.Snapshotter); root != "" {
		layer.FsId = &runtimeapi.FilesystemIdentifier{Mountpoint: root}
	}
	if used, ok := c.layers.SnapshotUsage(r.Runtime.Snapshotter, r.ID); ok {
		layer.Timestamp = used.At.UnixNano()
		layer.UsedBytes = value(used.Bytes)
		layer.InodesUsed = value(used.Inodes)
	}
	return layer
}

// PodStats measures a pod and its containers, members. The usage of the pod is that of the cgroup
// that the kubelet made for it, which includes more than the containers. A pod without such a
// cgroup has the sum of its containers. The number of processes is always a sum. A stopped pod has
// its containers only.
func (c *Collector) PodStats(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxStats {
	linux := &runtimeapi.LinuxPodSandboxStats{}
	var sum Usage
	for _, member := range members {
		stats, u := c.container(member)
		linux.Containers = append(linux.Containers, stats)
		sum.add(u)
	}
	u, start := sum, r.CreatedAt
	if parent := r.Config.GetLinux().GetCgroupParent(); parent != "" && r.State != pod.Stopped {
		u = c.reader.Usage(parent)
	}
	if r.Config.GetMetadata().GetAttempt() > 0 {
		start = 0 // the cgroup is older than this attempt
	}
	c.addRate(r.ID, start, u)
	linux.Cpu, linux.Memory, linux.Io, linux.Process = u.CPU, u.Memory, u.IO, c.processes(members)
	if n := c.network(r, members); n != nil {
		linux.Network = n.message()
	}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id:          r.ID,
			Metadata:    r.Config.GetMetadata(),
			Labels:      r.Config.GetLabels(),
			Annotations: r.Config.GetAnnotations(),
		},
		Linux: linux,
	}
}

// processes returns the number of processes in the running containers, or nil if they cannot be
// counted.
func (c *Collector) processes(members []*container.Record) *runtimeapi.ProcessUsage {
	var sum num
	for _, member := range members {
		if running(member) {
			sum = plus(sum, c.reader.countProcesses(member.Cgroup))
		}
	}
	if sum == nil {
		return nil
	}
	return &runtimeapi.ProcessUsage{Timestamp: time.Now().UnixNano(), ProcessCount: sum}
}

func running(r *container.Record) bool {
	return r.State() == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// network returns nil for a pod in the network of the host, whose counters are not the pod's, and
// for a pod whose network is gone.
func (c *Collector) network(r *pod.Record, members []*container.Record) *networkReadings {
	if r.HostNetwork() || r.Namespaces.Net == "" || r.State == pod.Stopped {
		return nil
	}
	pids := []uint32{r.PID}
	for _, member := range members {
		if running(member) {
			pids = append(pids, member.PID)
		}
	}
	n, err := c.reader.network(r.Namespaces.Net, pids)
	if err != nil {
		log.L.WithError(err).WithField("pod", r.ID).Debug("network counters are not readable; left out of the statistics")
		return nil
	}
	return &n
}
