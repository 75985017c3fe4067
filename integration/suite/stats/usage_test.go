// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

func (b *bench) stats(t *testing.T, container string) *runtimeapi.ContainerStats {
	t.Helper()
	answer, err := b.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Stats
}

func (b *bench) podStats(t *testing.T, p pod) *runtimeapi.PodSandboxStats {
	t.Helper()
	answer, err := b.PodSandboxStats(t.Context(), &runtimeapi.PodSandboxStatsRequest{PodSandboxId: p.id})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Stats
}

func oneContainer(t *testing.T, b *bench) {
	before := b.cpuUsed(t, b.web, b.worker)
	s := b.stats(t, b.worker)
	after := b.cpuUsed(t, b.web, b.worker)
	within(t, "CPU time", s.Cpu.UsageCoreNanoSeconds, before, after)
	if b.Options.Daemon != harness.Stock { // its sampler may not have run yet
		// The first request already returns a rate. The quota is 0.3 CPUs, with a tolerance of one
		// period.
		within(t, "CPU rate", s.Cpu.UsageNanoCores, 1, 45e7)
	}
	within(t, "memory", s.Memory.UsageBytes, held, memoryLimit)
	within(t, "working set", s.Memory.WorkingSetBytes, held, s.Memory.UsageBytes.GetValue())
	within(t, "resident memory", s.Memory.RssBytes, held, memoryLimit)
	within(t, "available memory", s.Memory.AvailableBytes, memoryLimit-s.Memory.WorkingSetBytes.GetValue(), memoryLimit-s.Memory.WorkingSetBytes.GetValue())
	within(t, "page faults", s.Memory.PageFaults, held/uint64(os.Getpagesize())/512, 1<<40)
	if b.Options.Daemon != harness.Stock && s.Swap == nil {
		t.Error("no swap")
	}
	if s.Attributes.Metadata.Name != "worker" || s.Attributes.Labels["role"] != "worker" || s.Attributes.Id != b.worker {
		t.Errorf("attributes %v", s.Attributes)
	}
	await(t, func() error { // measured in the background
		layer := b.stats(t, b.worker).WritableLayer
		if layer.UsedBytes.GetValue() < written || layer.InodesUsed.GetValue() < 2 {
			return fmt.Errorf("writable layer %v, want %d bytes", layer, written)
		}
		if _, err := os.Stat(layer.FsId.Mountpoint); err != nil {
			t.Error(err)
		}
		return nil
	})
}

// endedContainer checks that an exited container has no statistics of its own, and only a writable
// layer in a list.
func endedContainer(t *testing.T, b *bench) {
	if answer, err := b.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: b.ended}); err == nil {
		t.Errorf("got stats %v of an exited container, want an error", answer)
	}
	list, err := b.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{Id: b.ended}})
	if err != nil || len(list.Stats) != 1 {
		t.Fatalf("list: %v, %v", list, err)
	}
	s := list.Stats[0]
	if s.Attributes.Id != b.ended || s.WritableLayer == nil {
		t.Errorf("got stats %v, want attributes and a writable layer", s)
	}
	if s.Cpu != nil || s.Memory != nil || s.Swap != nil {
		t.Errorf("got stats %v of a container without usage", s)
	}
}

func lists(t *testing.T, b *bench) {
	all := []string{b.server, b.worker, b.ended, b.killed, b.stuck.member}
	for name, test := range map[string]struct {
		filter *runtimeapi.ContainerStatsFilter
		want   []string
	}{
		"all":             {nil, all},
		"empty filter":    {&runtimeapi.ContainerStatsFilter{}, all},
		"id":              {&runtimeapi.ContainerStatsFilter{Id: b.server}, []string{b.server}},
		"prefix of an ID": {&runtimeapi.ContainerStatsFilter{Id: b.server[:13]}, []string{b.server}},
		"pod":             {&runtimeapi.ContainerStatsFilter{PodSandboxId: b.host.id}, []string{b.killed}},
		"label":           {&runtimeapi.ContainerStatsFilter{LabelSelector: map[string]string{"role": "worker"}}, []string{b.worker}},
		"pod and label":   {&runtimeapi.ContainerStatsFilter{PodSandboxId: b.host.id, LabelSelector: map[string]string{"role": "worker"}}, nil},
		"unknown":         {&runtimeapi.ContainerStatsFilter{Id: "unknown"}, nil},
	} {
		answer, err := b.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{Filter: test.filter})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := map[string]bool{}
		for _, s := range answer.Stats {
			got[s.Attributes.Id] = true
		}
		for _, id := range test.want {
			if !got[id] {
				t.Errorf("%s: %s is missing", name, id)
			}
		}
		if len(answer.Stats) != len(test.want) {
			t.Errorf("%s: %d containers, want %d", name, len(answer.Stats), len(test.want))
		}
	}
	pods, err := b.ListPodSandboxStats(t.Context(), &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil || len(pods.Stats) != 3 {
		t.Errorf("%d pods, want 3: %v", len(pods.GetStats()), err)
	}
	if _, err := b.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: "unknown"}); err == nil {
		t.Error("an unknown container has statistics")
	}
}

func onePod(t *testing.T, b *bench) {
	before := b.cpuUsed(t, b.web, "")
	s := b.podStats(t, b.web).Linux
	after := b.cpuUsed(t, b.web, "")
	within(t, "CPU time", s.Cpu.UsageCoreNanoSeconds, before, after)
	within(t, "working set", s.Memory.WorkingSetBytes, held, 2*memoryLimit)
	within(t, "processes", s.Process.ProcessCount, 4, 4) // the worker, httpd, and its two sleeps
	if b.Options.Daemon != harness.Stock {
		within(t, "CPU rate", s.Cpu.UsageNanoCores, 1, 2e9)
	}
	eth0 := s.Network.DefaultInterface
	if eth0.GetName() != "eth0" || len(s.Network.Interfaces) == 0 {
		t.Fatalf("network %v, want eth0", s.Network)
	}
	within(t, "sent", eth0.TxBytes, served, 2*served)
	within(t, "received", eth0.RxBytes, 1, served)
	var names []string
	for _, c := range s.Containers {
		names = append(names, c.Attributes.Metadata.Name)
	}
	for _, want := range []string{"server", "worker"} {
		if !strings.Contains(fmt.Sprint(names), want) {
			t.Errorf("containers %v, want %s among them", names, want)
		}
	}
}

func hostPod(t *testing.T, b *bench) {
	s := b.podStats(t, b.host).Linux
	if s.Network.GetDefaultInterface() != nil {
		t.Errorf("got network %v for a pod on the host network", s.Network)
	}
	within(t, "CPU time", s.Cpu.UsageCoreNanoSeconds, 1, b.cpuUsed(t, b.host, ""))
}

func imageFilesystem(t *testing.T, b *bench) {
	answer, err := b.ImageFsInfo(t.Context(), &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.ImageFilesystems) == 0 || len(answer.ContainerFilesystems) == 0 {
		t.Fatalf("file systems %v", answer)
	}
	images, containers := answer.ImageFilesystems[0], answer.ContainerFilesystems[0]
	if images.FsId.Mountpoint != containers.FsId.Mountpoint {
		t.Errorf("images at %s, containers at %s: the kubelet treats them as separate file systems", images.FsId.Mountpoint, containers.FsId.Mountpoint)
	}
	if _, err := os.Stat(images.FsId.Mountpoint); err != nil {
		t.Error(err)
	}
	within(t, "containers", containers.UsedBytes, written+served, 1<<40)
	within(t, "images", images.UsedBytes, containers.UsedBytes.GetValue()+1, 1<<40)
	within(t, "inodes", images.InodesUsed, containers.InodesUsed.GetValue()+1, 1<<30)
}

// stoppedPod must be the last test that uses the pod stuck.
func stoppedPod(t *testing.T, b *bench) {
	if _, err := b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: b.stuck.id}); err != nil {
		t.Fatal(err)
	}
	s := b.podStats(t, b.stuck)
	if s.Attributes.Id != b.stuck.id || s.Linux.Cpu != nil || s.Linux.Network != nil || len(s.Linux.Containers) != 1 {
		t.Errorf("got stats %v, want the writable layer of a container", s)
	}
	pods, err := b.ListPodSandboxStats(t.Context(), &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil || len(pods.Stats) != 2 {
		t.Errorf("%d pods, want 2: %v", len(pods.GetStats()), err)
	}
}

// limit is no performance goal: a call that waits for the shim would use all of it.
const limit = 20 * time.Second
