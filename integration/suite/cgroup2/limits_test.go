// SPDX-License-Identifier: Apache-2.0

package cgroup2

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const sleep = "sleep 1000"

func limits(t *testing.T, b bench) {
	p := b.pod(t, "limits", "", nil)
	want := &runtimeapi.LinuxContainerResources{
		CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 1024, CpusetCpus: "0", CpusetMems: "0", MemoryLimitInBytes: 64 * mib,
	}
	hugetlb := strings.Contains(file(t, cgroupRoot, "cgroup.controllers"), "hugetlb") && has("/sys/kernel/mm/hugepages", "hugepages-2048kB")
	if hugetlb {
		want.HugepageLimits = []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 * mib}}
	}
	id := p.run(t, "main", sleep, withLimits(want))
	group := b.group(t, id)
	files(t, group, map[string]string{
		"memory.max": "67108864", "cpu.max": "50000 100000", "cpuset.cpus": "0", "cpuset.mems": "0",
	})
	if hugetlb {
		files(t, group, map[string]string{"hugetlb.2MB.max": "4194304"})
		less := &runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 2 * mib}}}
		if err := b.update(t, id, less); err != nil {
			t.Error(err)
		}
		if b.Handler == harness.HandlerLite { // runc update ignores them
			files(t, group, map[string]string{"hugetlb.2MB.max": "2097152"})
		}
	}
	// As in runc since 1.3.2: the default shares map to the default weight.
	if b.Runtime == "runc" {
		files(t, group, map[string]string{"cpu.weight": "100"})
	}
	// The container has all controllers of the host.
	equal(t, "cgroup.controllers", file(t, group, "cgroup.controllers"), file(t, cgroupRoot, "cgroup.controllers"))
}

func swap(t *testing.T, b bench) {
	p := b.pod(t, "swap", "", nil)
	without := b.group(t, p.run(t, "without", sleep, withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 * mib})))
	if !has(without, "memory.swap.max") {
		t.Skip("this kernel does not limit swap")
	}
	files(t, without, map[string]string{"memory.swap.max": "0"})
	with := b.group(t, p.run(t, "with", sleep, withLimits(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 64 * mib, MemorySwapLimitInBytes: 96 * mib,
	})))
	files(t, with, map[string]string{"memory.max": "67108864", "memory.swap.max": "33554432"})
	// The kubelet sets the limit like this.
	limited := b.group(t, p.run(t, "limited", sleep, withLimits(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 64 * mib, Unified: map[string]string{"memory.swap.max": "1048576"},
	})))
	files(t, limited, map[string]string{"memory.max": "67108864", "memory.swap.max": "1048576"})
}

func unified(t *testing.T, b bench) {
	p := b.pod(t, "unified", "", nil)
	id := p.run(t, "main", sleep, withLimits(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 64 * mib,
		Unified:            map[string]string{"memory.high": "50331648", "memory.oom.group": "1", "pids.max": "77"},
	}))
	group := b.group(t, id)
	want := map[string]string{"memory.max": "67108864", "memory.high": "50331648", "memory.oom.group": "1", "pids.max": "77"}
	files(t, group, want)
	if err := b.update(t, id, &runtimeapi.LinuxContainerResources{Unified: map[string]string{"memory.high": "41943040"}}); err != nil {
		t.Fatal(err)
	}
	want["memory.high"] = "41943040"
	files(t, group, want)
	if err := b.update(t, id, &runtimeapi.LinuxContainerResources{Unified: map[string]string{"memory.nonesuch": "1"}}); err == nil {
		t.Error("a control file that does not exist was accepted")
	}
	files(t, group, want)
}

func (b bench) update(t *testing.T, container string, l *runtimeapi.LinuxContainerResources) error {
	t.Helper()
	_, err := b.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: container, Linux: l})
	return err
}

// refused sets the first limits of a container, of which the last one is refused: afterwards the
// container has no limits, as before.
func refused(t *testing.T, b bench) {
	p := b.pod(t, "refused", "", nil)
	id := p.run(t, "main", sleep, nil)
	group := b.group(t, id)
	for name, l := range map[string]*runtimeapi.LinuxContainerResources{
		"cpus":         {MemoryLimitInBytes: 64 * mib, CpuQuota: 50000, CpuPeriod: 100000, CpusetCpus: "999"},
		"control file": {MemoryLimitInBytes: 64 * mib, Unified: map[string]string{"pids.max": "77", "memory.high": "1048576000", "memory.nonesuch": "1"}},
	} {
		if err := b.update(t, id, l); err == nil {
			t.Errorf("%s: no error", name)
		}
		files(t, group, map[string]string{"memory.max": "max", "memory.high": "max", "cpu.max": "max 100000"})
		if got := file(t, group, "pids.max"); got == "77" { // systemd has its own default
			t.Errorf("pids.max: %s", got)
		}
	}
}

// shrink lowers a limit below memory that cannot be reclaimed, which must be refused, and below
// page cache, which must succeed.
func shrink(t *testing.T, b bench) {
	p := b.pod(t, "shrink", "", nil)
	id := p.run(t, "main", "dd if=/dev/zero of=/dev/shm/held bs=1M count=48 2>/dev/null; touch /filled; "+sleep,
		withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 192 * mib}))
	b.await(t, id, "test -e /filled")
	group := b.group(t, id)
	err := b.update(t, id, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 * mib})
	if message := status.Convert(err).Message(); !strings.Contains(message, "limit") {
		t.Errorf("limit below the memory in use: %v", err)
	}
	files(t, group, map[string]string{"memory.max": "201326592"})

	var fs unix.Statfs_t
	if err := unix.Statfs(b.Root, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC || !has(group, "memory.reclaim") {
		t.Skip("the rest needs a disk, and Linux 5.19: memory.reclaim")
	}
	b.in(t, id, "dd if=/dev/zero of=/file bs=1M count=96 2>/dev/null; sync")
	if err := b.update(t, id, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 80 * mib}); err != nil {
		t.Errorf("limit below the page cache: %v", err)
	}
	files(t, group, map[string]string{"memory.max": "83886080"})
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "state", answer.Status.State, runtimeapi.ContainerState_CONTAINER_RUNNING)
}

// podGroup checks that a pod without a process has an empty cgroup where cAdvisor looks for it.
func podGroup(t *testing.T, b bench) {
	p := b.pod(t, "place", "", nil)
	group := b.group(t, p.id)
	equal(t, "cgroup of the pod", group, filepath.Join(cgroupRoot, b.ContainerCgroup(p.config, p.id)))
	if b.Options.Daemon != harness.Stock && b.Handler == harness.HandlerLite {
		files(t, group, map[string]string{"cgroup.procs": "", "cgroup.type": "domain"})
	}
	container := b.group(t, p.run(t, "main", sleep, nil))
	equal(t, "parent of the container's cgroup", filepath.Dir(container), filepath.Dir(group))
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
	if has(group, "") || has(container, "") {
		t.Error("cgroups left behind")
	}
}

func withoutParent(t *testing.T, b bench) {
	p := b.pod(t, "orphan", "", func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = "" })
	want := "/k8s.io"
	if b.CgroupDriver == harness.Systemd {
		want = "/system.slice"
	}
	equal(t, "parent", filepath.Dir(b.group(t, p.run(t, "main", sleep, nil))), filepath.Join(cgroupRoot, want))
}
