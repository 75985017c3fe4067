// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func currentResources() *specs.LinuxResources {
	return &specs.LinuxResources{
		Devices:        []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		CPU:            &specs.LinuxCPU{Shares: new(uint64(100)), Quota: new(int64(50)), Cpus: "0"},
		Memory:         &specs.LinuxMemory{Limit: new(int64(1000)), Swap: new(int64(1500))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}},
		Unified:        map[string]string{"memory.high": "900", "io.weight": "10"},
	}
}

func TestResourcesUpdate(t *testing.T) {
	current := currentResources()
	got, err := Resources(current, &runtimeapi.LinuxContainerResources{
		CpuQuota:           -1,
		CpuPeriod:          100000,
		MemoryLimitInBytes: 2000,
		HugepageLimits:     []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 2}, {PageSize: "1GB", Limit: 3}},
		Unified:            map[string]string{"memory.high": "1900"},
	}, fixtureFacts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &specs.LinuxResources{
		Devices:        []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		CPU:            &specs.LinuxCPU{Shares: new(uint64(100)), Quota: new(int64(-1)), Period: new(uint64(100000)), Cpus: "0"},
		Memory:         &specs.LinuxMemory{Limit: new(int64(2000)), Swap: new(int64(2000))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 2}, {Pagesize: "1GB", Limit: 3}},
		Unified:        map[string]string{"memory.high": "1900", "io.weight": "10"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(currentResources(), current); diff != "" {
		t.Errorf("the current resources changed:\n%s", diff)
	}
}

// A field replaces the control file that an earlier request set, because an OCI runtime would write
// the control file last.
func TestResourcesFieldAfterUnified(t *testing.T) {
	current := currentResources()
	current.Unified = map[string]string{"memory.max": "500", "memory.swap.max": "10", "cpu.weight": "7", "pids.max": "9"}
	got, err := Resources(current, &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 2000, CpuShares: 2}, fixtureFacts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"memory.swap.max": "10", "pids.max": "9"}, got.Unified); diff != "" {
		t.Errorf("unified (-want +got):\n%s", diff)
	}
}

// An empty update changes nothing, and repeating an update changes nothing.
func TestResourcesIdempotent(t *testing.T) {
	unchanged, err := Resources(currentResources(), nil, fixtureFacts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(currentResources(), unchanged); diff != "" {
		t.Errorf("empty update:\n%s", diff)
	}
	wanted := &runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "64KB", Limit: 2}}, CpuShares: 7}
	once, err := Resources(currentResources(), wanted, fixtureFacts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := Resources(once, wanted, fixtureFacts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once, twice); diff != "" {
		t.Errorf("second update:\n%s", diff)
	}
}

// An update is checked against the limits that it does not change. The current limits are 1000 for
// memory and 1500 for memory and swap.
func TestSwapUpdate(t *testing.T) {
	for _, c := range []struct {
		limit, swap         int64
		wantLimit, wantSwap int64
		refused             bool
	}{
		{limit: 0, swap: 0, wantLimit: 1000, wantSwap: 1500},
		{limit: 0, swap: 2000, wantLimit: 1000, wantSwap: 2000},
		{limit: 0, swap: -1, wantLimit: 1000, wantSwap: -1},
		{limit: 2000, swap: 0, wantLimit: 2000, wantSwap: 2000}, // no swap unless requested
		{limit: 2000, swap: 3000, wantLimit: 2000, wantSwap: 3000},
		{limit: -1, swap: -1, wantLimit: -1, wantSwap: -1},
		{limit: 0, swap: 999, refused: true},
		{limit: 2000, swap: 1999, refused: true},
	} {
		wanted := &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: c.limit, MemorySwapLimitInBytes: c.swap}
		got, err := Resources(currentResources(), wanted, fixtureFacts(), Options{})
		if c.refused {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("limit %d, swap %d: error %v, want class InvalidArgument", c.limit, c.swap, err)
			}
			continue
		}
		if err != nil || *got.Memory.Limit != c.wantLimit || *got.Memory.Swap != c.wantSwap {
			t.Errorf("limit %d, swap %d: got %v, %v", c.limit, c.swap, got.Memory, err)
		}
		v1 := fixtureFacts()
		v1.SwapController = false
		got, err = Resources(&specs.LinuxResources{}, wanted, v1, Options{})
		if err != nil || got.Memory.Swap != nil {
			t.Errorf("limit %d, swap %d without the controller: got %v, %v", c.limit, c.swap, got, err)
		}
	}
}

func TestResourcesInvalid(t *testing.T) {
	_, err := Resources(nil, &runtimeapi.LinuxContainerResources{CpuShares: -1}, Facts{}, Options{})
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("error %v, want class InvalidArgument", err)
	}
}

// The effective resources and user of a container are those that it was created with.
func TestEffectiveResources(t *testing.T) {
	wanted := &runtimeapi.LinuxContainerResources{
		CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, CpusetCpus: "0-1", CpusetMems: "0", OomScoreAdj: 7,
		MemoryLimitInBytes: 1000, MemorySwapLimitInBytes: 2000,
		HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 1}},
		Unified:        map[string]string{"memory.high": "900"},
	}
	in := fixture()
	resourcesOf(wanted)(&in)
	in.User = User{UID: 5, GID: 6, AdditionalGIDs: []uint32{7}}
	s, err := Container(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&runtimeapi.ContainerResources{Linux: wanted}, Effective(s), protocmp.Transform()); diff != "" {
		t.Errorf("resources, -want +got:\n%s", diff)
	}
	user := &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{Uid: 5, Gid: 6, SupplementalGroups: []int64{6, 7}}}
	if diff := cmp.Diff(user, EffectiveUser(s), protocmp.Transform()); diff != "" {
		t.Errorf("user, -want +got:\n%s", diff)
	}
}

func TestEffectiveResourcesOfAnEmptySpec(t *testing.T) {
	for _, s := range []*specs.Spec{nil, {}, {Linux: &specs.Linux{}}, {Process: &specs.Process{}, Linux: &specs.Linux{
		Resources: &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}},
	}}} {
		if diff := cmp.Diff(&runtimeapi.ContainerResources{Linux: &runtimeapi.LinuxContainerResources{}}, Effective(s), protocmp.Transform()); diff != "" {
			t.Errorf("resources of %+v:\n%s", s, diff)
		}
		if diff := cmp.Diff(&runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{}}, EffectiveUser(s), protocmp.Transform()); diff != "" {
			t.Errorf("user of %+v:\n%s", s, diff)
		}
	}
}

func TestCgroupsPath(t *testing.T) {
	for _, c := range []struct {
		parent  string
		systemd bool
		want    string // "" for an error
	}{
		{"", false, "/k8s.io/c1"},
		{"", true, "system.slice:cri-containerd:c1"},
		{"/kubepods/besteffort/podx", false, "/kubepods/besteffort/podx/c1"},
		{"/kubepods/besteffort/podx", true, ""},
		{"relative", false, "relative/c1"},
		{"/kubepods.slice/kubepods-podx.slice", false, "kubepods-podx.slice:cri-containerd:c1"},
		{"/kubepods.slice/kubepods-podx.slice", true, "kubepods-podx.slice:cri-containerd:c1"},
		{"system.slice", true, "system.slice:cri-containerd:c1"},
		{"/kubepods.slice/podx", false, "/kubepods.slice/podx/c1"},
		{"/kubepods.slice/podx", true, ""},
	} {
		handler := Handler{SystemdCgroup: c.systemd}
		pod := &runtimeapi.PodSandboxConfig{Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: c.parent}}
		got, err := handler.cgroupsPath(pod, "c1")
		if got != c.want || errdefs.IsInvalidArgument(err) != (c.want == "") {
			t.Errorf("cgroup below %q, systemd %v: %q, %v, want %q", c.parent, c.systemd, got, err, c.want)
		}
	}
}

func TestOCIVersion(t *testing.T) {
	for _, c := range []struct{ newest, want string }{
		{"", "1.0.2"}, // crun 1.8.1 reports no version, and refuses 1.2 and above
		{"nonsense", "1.0.2"},
		{"1.0.2-dev", "1.0.2-dev"},
		{"1.2.1", "1.2.1"},
		{specs.Version, specs.Version},
		{"99.0.0", specs.Version},
	} {
		if got := ociVersion(c.newest); got != c.want {
			t.Errorf("ociVersion(%q) = %q, want %q", c.newest, got, c.want)
		}
	}
}
