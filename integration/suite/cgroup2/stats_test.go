// SPDX-License-Identifier: Apache-2.0

package cgroup2

import (
	"testing"

	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/typeurl/v2"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// statistics compares the statistics of a container, in the CRI and in the shim, with the files of
// its cgroup.
func statistics(t *testing.T, b bench) {
	p := b.pod(t, "statistics", "", nil)
	id := p.run(t, "main", "dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null; dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null; sync; touch /filled; "+sleep,
		withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 * mib}))
	b.await(t, id, "test -e /filled")
	group := b.group(t, id)
	answer, err := b.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	s := answer.Stats
	if got := s.GetMemory().GetUsageBytes().GetValue(); got < 24*mib || got > 64*mib {
		t.Errorf("memory in use: %d", got)
	}
	if got := s.GetMemory().GetAvailableBytes(); got == nil || got.Value > 64*mib {
		t.Errorf("memory below the limit: %v", got)
	}
	if has(group, "memory.swap.current") && s.GetSwap().GetSwapUsageBytes() == nil {
		t.Error("no usage of swap")
	}
	for name, psi := range map[string]*runtimeapi.PsiStats{
		"cpu.pressure": s.GetCpu().GetPsi(), "memory.pressure": s.GetMemory().GetPsi(), "io.pressure": s.GetIo().GetPsi(),
	} {
		if has(group, name) && (psi.GetSome() == nil || psi.GetFull() == nil) {
			t.Errorf("no %s", name)
		}
	}
	b.podStatistics(t, p)
	b.metrics(t, id, group)
}

func (b bench) podStatistics(t *testing.T, p pod) {
	t.Helper()
	answer, err := b.PodSandboxStats(t.Context(), &runtimeapi.PodSandboxStatsRequest{PodSandboxId: p.id})
	if err != nil {
		t.Fatal(err)
	}
	s := answer.Stats.GetLinux()
	if s.GetMemory().GetUsageBytes().GetValue() < 24*mib || s.GetCpu().GetUsageCoreNanoSeconds().GetValue() == 0 {
		t.Errorf("pod: memory %v, CPU %v", s.GetMemory(), s.GetCpu())
	}
}

// metrics checks the metrics of the task API, which ctr and containerd's exporters show.
func (b bench) metrics(t *testing.T, id, group string) {
	t.Helper()
	metric, err := b.task(t, id).Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := content.(*v2.Metrics)
	if !ok {
		t.Fatalf("metrics have type %T", content)
	}
	equal(t, "limit in the metrics", m.GetMemory().GetUsageLimit(), 64*mib)
	if m.GetMemory().GetUsage() < 24*mib || m.GetCPU().GetUsageUsec() == 0 || m.GetPids().GetCurrent() == 0 {
		t.Errorf("metrics: %v", m)
	}
	if has(group, "io.pressure") && m.GetIo().GetPSI() == nil {
		t.Error("metrics without pressure")
	}
}
