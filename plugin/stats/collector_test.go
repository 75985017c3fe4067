// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// fakeLayers has the writable layer of one container.
type fakeLayers struct{}

func (fakeLayers) SnapshotUsage(snapshotter, key string) (image.Usage, bool) {
	return image.Usage{Bytes: 4096, Inodes: 2, At: time.Now()}, snapshotter == "overlayfs" && key == "abc"
}

func (fakeLayers) SnapshotsRoot(snapshotter string) string {
	return map[string]string{"overlayfs": "/snapshots"}[snapshotter]
}

func (fakeLayers) Filesystem(snapshotter string) (image.Filesystem, bool) {
	f := image.Filesystem{Device: "/dev/sdb1", Bytes: 1 << 40, Inodes: 1000, InodesFree: 400, At: time.Unix(0, 77)}
	return f, snapshotter == "overlayfs"
}

func newContainer(id string, change func(*container.Record)) *container.Record {
	r := &container.Record{
		ID:    id,
		PodID: "p",
		Config: &runtimeapi.ContainerConfig{
			Metadata:    &runtimeapi.ContainerMetadata{Name: "web", Attempt: 1},
			Labels:      map[string]string{"app": "web"},
			Annotations: map[string]string{"note": "1"},
		},
		Runtime: container.Runtime{Snapshotter: "overlayfs"},
		Applied: container.Applied{Cgroup: "/kubepods/pod1/" + id},
		Times:   container.Times{Created: 1, Started: 2},
	}
	if change != nil {
		change(r)
	}
	return r
}

func attributes(id string) *runtimeapi.ContainerAttributes {
	return &runtimeapi.ContainerAttributes{
		Id:          id,
		Metadata:    &runtimeapi.ContainerMetadata{Name: "web", Attempt: 1},
		Labels:      map[string]string{"app": "web"},
		Annotations: map[string]string{"note": "1"},
	}
}

func layer(sizes ...uint64) *runtimeapi.FilesystemUsage {
	u := unmeasured()
	u.FsId = &runtimeapi.FilesystemIdentifier{Mountpoint: "/snapshots"}
	if len(sizes) == 2 {
		u.UsedBytes, u.InodesUsed = value(sizes[0]), value(sizes[1])
	}
	return u
}

// unmeasured is a layer that was created after the last sample.
func unmeasured() *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{UsedBytes: value(0), InodesUsed: value(1)}
}

func TestContainerStats(t *testing.T) {
	c := NewCollector(machineV2.with(cgroupV2.below("sys/fs/cgroup/kubepods/pod1/abc")).reader(t), fakeLayers{}, Rates{})
	running := &runtimeapi.ContainerStats{
		Attributes: attributes("abc"), WritableLayer: layer(4096, 2),
		Cpu: usageV2.CPU, Memory: usageV2.Memory, Swap: usageV2.Swap, Io: usageV2.IO,
	}
	tests := []struct {
		name string
		r    *container.Record
		want *runtimeapi.ContainerStats
	}{
		{"running", newContainer("abc", nil), running},
		{"created", newContainer("abc", func(r *container.Record) { r.Times.Started = 0 }),
			&runtimeapi.ContainerStats{Attributes: attributes("abc"), WritableLayer: layer(4096, 2)}},
		{"exited", newContainer("abc", func(r *container.Record) { r.Times.Finished = 3 }),
			&runtimeapi.ContainerStats{Attributes: attributes("abc"), WritableLayer: layer(4096, 2)}},
		{"unknown snapshotter", newContainer("other", func(r *container.Record) { r.Runtime.Snapshotter = "gone" }),
			&runtimeapi.ContainerStats{Attributes: attributes("other"), WritableLayer: unmeasured()}},
		{"cgroup removed, layer not measured", newContainer("other", nil),
			&runtimeapi.ContainerStats{Attributes: attributes("other"), WritableLayer: layer()}},
	}
	for _, tt := range tests {
		if d := diff(tt.want, c.ContainerStats(tt.r)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func newPod(parent string) *pod.Record {
	return &pod.Record{ID: "p", State: pod.Ready, CreatedAt: 900e9, Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "1"},
		Labels:   map[string]string{"app": "web"},
		Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: parent},
	}}
}

func TestPodStats(t *testing.T) {
	members := []*container.Record{
		newContainer("abc", nil),
		newContainer("def", nil),
		newContainer("old", func(r *container.Record) { r.Times.Finished = 3 }),
	}
	machine := machineV2.with(
		cgroupV2.below("sys/fs/cgroup/kubepods/pod1/abc"),
		cgroupV2.below("sys/fs/cgroup/kubepods/pod1/def"),
		tree{"cgroup.procs": "9\n", "cpu.stat": "usage_usec 9\n", "io.pressure": "some avg10=1 avg60=2 avg300=3 total=4\n"}.below("sys/fs/cgroup/kubepods/pod1"))
	sum := &runtimeapi.MemoryUsage{
		UsageBytes: value(64 << 20), WorkingSetBytes: value(40 << 20), RssBytes: value(16 << 20),
		PageFaults: value(8484), MajorPageFaults: value(34),
	}
	tests := []struct {
		name, parent string
		want         *runtimeapi.LinuxPodSandboxStats
	}{
		{"the kubelet's cgroup", "/kubepods/pod1", &runtimeapi.LinuxPodSandboxStats{
			Cpu:     &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(9000)},
			Process: &runtimeapi.ProcessUsage{ProcessCount: value(6)},
			Io:      &runtimeapi.IoUsage{Psi: &runtimeapi.PsiStats{Some: &runtimeapi.PsiData{Total: 4000, Avg10: 1, Avg60: 2, Avg300: 3}}},
		}},
		{"no cgroup: the sum", "", &runtimeapi.LinuxPodSandboxStats{
			Cpu:     &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(5000000000)},
			Memory:  sum,
			Process: &runtimeapi.ProcessUsage{ProcessCount: value(6)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCollector(machine.reader(t), fakeLayers{}, Rates{})
			got := c.PodStats(newPod(tt.parent), members)
			tt.want.Containers = []*runtimeapi.ContainerStats{
				{Attributes: attributes("abc"), WritableLayer: layer(4096, 2), Cpu: usageV2.CPU, Memory: usageV2.Memory, Swap: usageV2.Swap, Io: usageV2.IO},
				{Attributes: attributes("def"), WritableLayer: layer(), Cpu: usageV2.CPU, Memory: usageV2.Memory, Swap: usageV2.Swap, Io: usageV2.IO},
				{Attributes: attributes("old"), WritableLayer: layer()},
			}
			if d := diff(tt.want, got.Linux); d != "" {
				t.Errorf("stats (-want +got):\n%s", d)
			}
			if got.Attributes.Id != "p" || got.Attributes.Metadata.Name != "web" || got.Attributes.Labels["app"] != "web" {
				t.Errorf("attributes %v, want those of the pod", got.Attributes)
			}
		})
	}
}

// TestPodNetworkBroken checks that a pod without a network namespace has all other statistics.
func TestPodNetworkBroken(t *testing.T) {
	c := NewCollector(machineV2.with(cgroupV2.below("sys/fs/cgroup/kubepods/pod1")).reader(t), fakeLayers{}, Rates{})
	r := newPod("/kubepods/pod1")
	r.Namespaces.Net = t.TempDir() + "/gone"
	got := c.PodStats(r, nil)
	if got.Linux.Network != nil || got.Linux.Cpu == nil {
		t.Errorf("stats %v, want CPU and no network", got.Linux)
	}
}

// TestPodNetwork reads the interfaces of a pinned network namespace. A container's process that is
// not in the namespace is not used.
func TestPodNetwork(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	dir := t.TempDir()
	pinner := network.NewPinner(paths.Paths{State: dir}, dir)
	ns, err := pinner.Pin(t.Context(), network.PinOptions{ID: "p", Net: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pinner.Unpin(context.Background(), "p", network.Namespaces{}); err != nil {
			t.Error(err)
		}
	})
	reader, err := NewReader("/")
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(reader, fakeLayers{}, Rates{})
	r := newPod("")
	r.Namespaces = ns
	if n := c.PodStats(r, nil).Linux.Network; n != nil {
		t.Errorf("network %v of a pod with a loopback only", n)
	}
	err = network.InNetNS(ns.Net, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "test0"}, PeerName: "test1"})
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the kernel has no veth interfaces")
	}
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := newContainer("abc", func(r *container.Record) { r.PID = uint32(os.Getpid()) })
	for what, members := range map[string][]*container.Record{
		"no containers": nil, "a container in another network": {elsewhere},
	} {
		n := c.PodStats(r, members).Linux.Network
		if len(n.GetInterfaces()) != 2 || n.DefaultInterface != n.Interfaces[0] {
			t.Errorf("%s: network %v, want test0 and test1", what, n)
		}
	}
}
