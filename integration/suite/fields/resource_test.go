// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

type limits = runtimeapi.LinuxContainerResources

const mib = 1 << 20

func withLimits(l *limits) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Linux.Resources = l }
}

// cgroup returns a control file of a container: v1 is controller/file, v2 the file name on cgroup
// v2.
func (b bench) cgroup(t *testing.T, container, v1, v2 string) string {
	t.Helper()
	data, err := os.ReadFile(harness.CgroupFile(b.spec(t, container).Linux.CgroupsPath, v1, v2))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// pages returns limits of huge pages, unless this host has no controller for them. Without it
// requests for them are ignored (tolerate_missing_hugetlb_controller) and do not appear in the
// status.
func pages(t *testing.T) []*runtimeapi.HugepageLimit {
	t.Helper()
	v2, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if _, err := os.Stat("/sys/fs/cgroup/hugetlb"); err != nil && !strings.Contains(string(v2), "hugetlb") {
		return nil
	}
	return []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 2 * mib}}
}

func (b bench) checkPages(t *testing.T, container string) {
	t.Helper()
	if pages(t) == nil {
		t.Log("limits of huge pages not tested: no cgroup controller for them")
		return
	}
	equal(t, "huge pages", b.cgroup(t, container, "hugetlb/hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "2097152")
}

func (b bench) memoryLimit(t *testing.T, container string) string {
	t.Helper()
	return b.cgroup(t, container, "memory/memory.limit_in_bytes", "memory.max")
}

func (b bench) update(t *testing.T, container string, l *limits) error {
	t.Helper()
	_, err := b.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: container, Linux: l})
	return err
}

// statusIs compares the limits of ContainerStatus, except swap, for which a host may lack the
// controller.
func (b bench) statusIs(t *testing.T, what, container string, want *limits) {
	t.Helper()
	got := b.status(t, container).GetResources().GetLinux()
	if got.GetMemorySwapLimitInBytes() == got.GetMemoryLimitInBytes() {
		got.MemorySwapLimitInBytes = 0
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("status %s (-want +got):\n%s", what, diff)
	}
}

func resources(t *testing.T, b bench) {
	p := b.pod(t, "resources", nil)
	want := &limits{
		CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, CpusetCpus: "0", CpusetMems: "0",
		MemoryLimitInBytes: 64 * mib, OomScoreAdj: 900,
		HugepageLimits: pages(t),
	}
	id := p.run(t, "main", withLimits(want))
	equal(t, "memory", b.memoryLimit(t, id), "67108864")
	equal(t, "cpus", b.cgroup(t, id, "cpuset/cpuset.cpus", "cpuset.cpus"), "0")
	b.checkPages(t, id)
	equal(t, "oom_score_adj", b.sh(t, id, "cat /proc/1/oom_score_adj"), "900")
	b.statusIs(t, "after create", id, want)
}

func updateResources(t *testing.T, b bench) {
	p := b.pod(t, "update", nil)
	start := &limits{CpuShares: 512, MemoryLimitInBytes: 64 * mib, OomScoreAdj: 900}
	id := p.run(t, "main", withLimits(start))

	// Up and down: the order of the writes to memory and memory+swap must be the one that the
	// kernel accepts.
	for _, memory := range []int64{256 * mib, 32 * mib} {
		if err := b.update(t, id, &limits{MemoryLimitInBytes: memory, MemorySwapLimitInBytes: memory}); err != nil {
			t.Fatal(err)
		}
		b.statusIs(t, "after an update of memory", id, &limits{CpuShares: 512, MemoryLimitInBytes: memory, OomScoreAdj: 900})
	}
	equal(t, "memory", b.memoryLimit(t, id), "33554432")
	for range 2 { // the second update must replace the first limit
		if err := b.update(t, id, &limits{CpuQuota: 20000, CpuPeriod: 100000, HugepageLimits: pages(t)}); err != nil {
			t.Fatal(err)
		}
	}
	b.statusIs(t, "after an update of other limits", id, &limits{
		CpuShares: 512, CpuQuota: 20000, CpuPeriod: 100000, MemoryLimitInBytes: 32 * mib, OomScoreAdj: 900, HugepageLimits: pages(t),
	})
	b.checkPages(t, id)

	// A container that is not started yet starts with the new limits.
	created, err := p.create(t, "created", withLimits(start))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.update(t, created, &limits{MemoryLimitInBytes: 128 * mib}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: created}); err != nil {
		t.Fatal(err)
	}
	equal(t, "memory of a container updated before its start", b.memoryLimit(t, created), "134217728")
}

// refusedUpdates checks that refused updates change neither the limits nor the status nor the
// container.
func refusedUpdates(t *testing.T, b bench) {
	p := b.pod(t, "refused-update", nil)
	start := &limits{CpuShares: 512, MemoryLimitInBytes: 128 * mib, OomScoreAdj: 900}
	id := p.run(t, "main", withLimits(start))
	b.sh(t, id, "dd if=/dev/zero of=/dev/shm/hold bs=1M count=48 2>/dev/null")

	shares := b.cgroup(t, id, "cpu/cpu.shares", "cpu.weight")
	err := b.update(t, id, &limits{MemoryLimitInBytes: 8 * mib, CpuShares: 100})
	// "memory limit" with runc and crun, and "memory+swap limit" with runc on cgroup v2.
	if message := status.Convert(err).Message(); !strings.Contains(message, " limit ") {
		t.Errorf("memory limit below the memory in use: %v", err)
	}
	for name, l := range map[string]*limits{
		"no limits":         nil,
		"negative memory":   {MemoryLimitInBytes: -5},
		"swap below memory": {MemorySwapLimitInBytes: 64 * mib},
		"cpus":              {CpusetCpus: "0-"},
		"oom score":         {OomScoreAdj: 1001},
		"two limits":        {HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 1}, {PageSize: "2MB"}}},
	} {
		if err := b.update(t, id, l); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: got %v, want InvalidArgument", name, err)
		}
	}
	b.statusIs(t, "after refused updates", id, start)
	equal(t, "memory", b.memoryLimit(t, id), "134217728")
	equal(t, "shares", b.cgroup(t, id, "cpu/cpu.shares", "cpu.weight"), shares)
	equal(t, "state", b.status(t, id).State, runtimeapi.ContainerState_CONTAINER_RUNNING)
}

func reasons(t *testing.T, b bench) {
	p := b.pod(t, "reasons", nil)
	for _, c := range []struct {
		name, script, reason string
		code                 int32
	}{
		{"done", "exit 0", "Completed", 0},
		{"failed", "exit 3", "Error", 3},
		{"memory", "dd if=/dev/zero of=/dev/null bs=64M count=4", "OOMKilled", 137},
	} {
		id := p.run(t, c.name, func(config *runtimeapi.ContainerConfig) {
			config.Command = []string{"sh", "-c", "exec " + c.script}
			if strings.HasPrefix(c.script, "exit") {
				config.Command[2] = c.script
			}
			config.Linux.Resources = &limits{MemoryLimitInBytes: 16 * mib}
		})
		got, err := b.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "reason of "+c.name, got.Reason, c.reason)
		equal(t, "exit code of "+c.name, got.ExitCode, c.code)
		if got.StartedAt == 0 || got.FinishedAt < got.StartedAt {
			t.Errorf("%s: started at %d, finished at %d", c.name, got.StartedAt, got.FinishedAt)
		}
	}
}
