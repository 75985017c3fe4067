// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// adjustable returns a spec with something of everything that a plugin may change.
func adjustable() *specs.Spec {
	return &specs.Spec{
		Process: &specs.Process{
			Args:    []string{"/bin/app"},
			Env:     []string{"PATH=/bin", "OLD=1"},
			Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Annotations: map[string]string{AnnotationContainerType: ContainerTypeContainer, "mine": "1"},
		Mounts:      []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			Resources:  &specs.LinuxResources{Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}},
			Namespaces: []specs.LinuxNamespace{{Type: specs.IPCNamespace, Path: "/ns/ipc"}},
			Sysctl:     map[string]string{"net.core.somaxconn": "1"},
		},
	}
}

func resolvers() Resolvers {
	return Resolvers{
		CDI: func(s *specs.Spec, devices []string) error {
			s.Process.Env = append(s.Process.Env, "CDI="+strings.Join(devices, ","))
			return nil
		},
		BlockIO: func(class string) (*specs.LinuxBlockIO, error) {
			if class != "slow" {
				return nil, errors.New("no such class")
			}
			return &specs.LinuxBlockIO{Weight: new(uint16(10))}, nil
		},
		RDT: func(class string) (*specs.LinuxIntelRdt, error) { return &specs.LinuxIntelRdt{ClosID: class}, nil },
	}
}

func adjusted(t *testing.T, a *api.ContainerAdjustment) *specs.Spec {
	t.Helper()
	s, err := Adjust(adjustable(), a, resolvers(), Facts{SwapController: true, Hugetlb: true, CgroupV2: true}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each field of an adjustment changes the spec. A field that a newer NRI adds fails the test until
// it is here.
func TestAdjust(t *testing.T) {
	linux := func(l *api.LinuxContainerAdjustment) *api.ContainerAdjustment {
		return &api.ContainerAdjustment{Linux: l}
	}
	resources := func(r *api.LinuxResources) *api.ContainerAdjustment {
		return linux(&api.LinuxContainerAdjustment{Resources: r})
	}
	memory := func(m *api.LinuxMemory) *api.ContainerAdjustment { return resources(&api.LinuxResources{Memory: m}) }
	cpu := func(c *api.LinuxCPU) *api.ContainerAdjustment { return resources(&api.LinuxResources{Cpu: c}) }
	for field, tc := range map[string]struct {
		adjust *api.ContainerAdjustment
		get    func(s *specs.Spec) any
		want   any
	}{
		"ContainerAdjustment.Annotations": {
			&api.ContainerAdjustment{Annotations: map[string]string{"key": "value", "-mine": ""}},
			func(s *specs.Spec) any { return s.Annotations },
			map[string]string{AnnotationContainerType: ContainerTypeContainer, "key": "value"},
		},
		"ContainerAdjustment.Mounts": {
			&api.ContainerAdjustment{Mounts: []*api.Mount{{Destination: "/out", Type: "bind", Source: "/in", Options: []string{"ro"}}}},
			func(s *specs.Spec) any { return s.Mounts[0] }, // sorted
			specs.Mount{Destination: "/out", Type: "bind", Source: "/in", Options: []string{"ro"}},
		},
		"ContainerAdjustment.Env": {
			&api.ContainerAdjustment{Env: []*api.KeyValue{{Key: "NEW", Value: "2"}, {Key: "-OLD"}}},
			func(s *specs.Spec) any { return s.Process.Env },
			[]string{"PATH=/bin", "NEW=2"},
		},
		"ContainerAdjustment.Args": {
			&api.ContainerAdjustment{Args: []string{"/bin/other"}},
			func(s *specs.Spec) any { return s.Process.Args },
			[]string{"/bin/other"},
		},
		"ContainerAdjustment.Hooks": {
			&api.ContainerAdjustment{Hooks: &api.Hooks{
				Prestart: []*api.Hook{{Path: "/1"}}, CreateRuntime: []*api.Hook{{Path: "/2"}}, CreateContainer: []*api.Hook{{Path: "/3"}},
				StartContainer: []*api.Hook{{Path: "/4"}}, Poststart: []*api.Hook{{Path: "/5"}}, Poststop: []*api.Hook{{Path: "/6"}},
			}},
			func(s *specs.Spec) any {
				h := s.Hooks
				//nolint:staticcheck // deprecated, and still in NRI
				return h.Prestart[0].Path + h.CreateRuntime[0].Path + h.CreateContainer[0].Path +
					h.StartContainer[0].Path + h.Poststart[0].Path + h.Poststop[0].Path
			},
			"/1/2/3/4/5/6",
		},
		"ContainerAdjustment.Rlimits": {
			&api.ContainerAdjustment{Rlimits: []*api.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 9, Soft: 8}, {Type: "RLIMIT_CORE"}}},
			func(s *specs.Spec) any { return s.Process.Rlimits },
			[]specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 9, Soft: 8}, {Type: "RLIMIT_CORE"}},
		},
		"ContainerAdjustment.CDIDevices": {
			&api.ContainerAdjustment{CDIDevices: []*api.CDIDevice{{Name: "v.com/c=0"}}},
			func(s *specs.Spec) any { return s.Process.Env[2] },
			"CDI=v.com/c=0",
		},
		"LinuxContainerAdjustment.Devices": {
			linux(&api.LinuxContainerAdjustment{Devices: []*api.LinuxDevice{{Path: "/dev/pie", Type: "c", Major: 31, Minor: 41}}}),
			func(s *specs.Spec) any { return []any{s.Linux.Devices, s.Linux.Resources.Devices} },
			[]any{
				[]specs.LinuxDevice{{Path: "/dev/pie", Type: "c", Major: 31, Minor: 41}},
				[]specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: new(int64(31)), Minor: new(int64(41)), Access: "rw"}},
			},
		},
		"LinuxContainerAdjustment.CgroupsPath": {
			linux(&api.LinuxContainerAdjustment{CgroupsPath: "/other"}),
			func(s *specs.Spec) any { return s.Linux.CgroupsPath }, "/other",
		},
		"LinuxContainerAdjustment.OomScoreAdj": {
			linux(&api.LinuxContainerAdjustment{OomScoreAdj: api.Int(7)}),
			func(s *specs.Spec) any { return *s.Process.OOMScoreAdj }, 7,
		},
		"LinuxContainerAdjustment.IoPriority": {
			linux(&api.LinuxContainerAdjustment{IoPriority: &api.LinuxIOPriority{Class: api.IOPrioClass_IOPRIO_CLASS_IDLE, Priority: 3}}),
			func(s *specs.Spec) any { return *s.Process.IOPriority },
			specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 3},
		},
		"LinuxContainerAdjustment.SeccompPolicy": {
			linux(&api.LinuxContainerAdjustment{SeccompPolicy: &api.LinuxSeccomp{
				DefaultAction: "SCMP_ACT_ERRNO", DefaultErrno: api.UInt32(uint32(38)), Syscalls: []*api.LinuxSyscall{{Names: []string{"read"}, Action: "SCMP_ACT_ALLOW"}},
			}}),
			func(s *specs.Spec) any {
				p := s.Linux.Seccomp
				return []any{p.DefaultAction, *p.DefaultErrnoRet, p.Syscalls[0].Names[0]}
			},
			[]any{specs.ActErrno, uint(38), "read"},
		},
		"LinuxContainerAdjustment.Namespaces": {
			linux(&api.LinuxContainerAdjustment{Namespaces: []*api.LinuxNamespace{{Type: "-ipc"}, {Type: "network", Path: "/ns/net"}}}),
			func(s *specs.Spec) any { return s.Linux.Namespaces },
			[]specs.LinuxNamespace{{Type: specs.NetworkNamespace, Path: "/ns/net"}},
		},
		"LinuxContainerAdjustment.Sysctl": {
			linux(&api.LinuxContainerAdjustment{Sysctl: map[string]string{"-net.core.somaxconn": "", "kernel.shm_rmid_forced": "1"}}),
			func(s *specs.Spec) any { return s.Linux.Sysctl }, map[string]string{"kernel.shm_rmid_forced": "1"},
		},
		"LinuxContainerAdjustment.NetDevices": {
			linux(&api.LinuxContainerAdjustment{NetDevices: map[string]*api.LinuxNetDevice{"eth1": {Name: "net0"}}}),
			func(s *specs.Spec) any { return s.Linux.NetDevices }, map[string]specs.LinuxNetDevice{"eth1": {Name: "net0"}},
		},
		"LinuxContainerAdjustment.Scheduler": {
			linux(&api.LinuxContainerAdjustment{Scheduler: &api.LinuxScheduler{Policy: api.LinuxSchedulerPolicy_SCHED_BATCH, Nice: 4}}),
			func(s *specs.Spec) any { return []any{s.Process.Scheduler.Policy, s.Process.Scheduler.Nice} }, []any{specs.SchedBatch, int32(4)},
		},
		"LinuxContainerAdjustment.Rdt": {
			linux(&api.LinuxContainerAdjustment{Rdt: &api.LinuxRdt{ClosId: api.String("gold"), Schemata: api.RepeatedString([]string{"L3:0=f"})}}),
			func(s *specs.Spec) any { return []any{s.Linux.IntelRdt.ClosID, s.Linux.IntelRdt.Schemata[0]} }, []any{"gold", "L3:0=f"},
		},
		"LinuxContainerAdjustment.MemoryPolicy": {
			linux(&api.LinuxContainerAdjustment{MemoryPolicy: &api.LinuxMemoryPolicy{Mode: api.MpolMode_MPOL_BIND, Nodes: "0"}}),
			func(s *specs.Spec) any { return []any{s.Linux.MemoryPolicy.Mode, s.Linux.MemoryPolicy.Nodes} }, []any{specs.MpolBind, "0"},
		},
		"LinuxResources.HugepageLimits": {
			resources(&api.LinuxResources{HugepageLimits: []*api.HugepageLimit{{PageSize: "2MB", Limit: 1 << 21}}}),
			func(s *specs.Spec) any { return s.Linux.Resources.HugepageLimits }, []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1 << 21}},
		},
		"LinuxResources.BlockioClass": {
			resources(&api.LinuxResources{BlockioClass: api.String("slow")}),
			func(s *specs.Spec) any { return *s.Linux.Resources.BlockIO.Weight }, uint16(10),
		},
		"LinuxResources.RdtClass": {
			resources(&api.LinuxResources{RdtClass: api.String("gold")}),
			func(s *specs.Spec) any { return s.Linux.IntelRdt.ClosID }, "gold",
		},
		"LinuxResources.Unified": {
			resources(&api.LinuxResources{Unified: map[string]string{"memory.high": "1"}}),
			func(s *specs.Spec) any { return s.Linux.Resources.Unified }, map[string]string{"memory.high": "1"},
		},
		"LinuxResources.Devices": {
			resources(&api.LinuxResources{Devices: []*api.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "r"}}}),
			func(s *specs.Spec) any { return s.Linux.Resources.Devices }, []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "r"}},
		},
		"LinuxResources.Pids": {
			resources(&api.LinuxResources{Pids: &api.LinuxPids{Limit: 5}}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Pids.Limit }, int64(5),
		},
		"LinuxMemory.Limit": {
			memory(&api.LinuxMemory{Limit: api.Int64(9)}),
			func(s *specs.Spec) any {
				return []int64{*s.Linux.Resources.Memory.Limit, *s.Linux.Resources.Memory.Swap}
			}, []int64{9, 9},
		},
		"LinuxMemory.Swap": {
			memory(&api.LinuxMemory{Limit: api.Int64(9), Swap: api.Int64(10)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.Swap }, int64(10),
		},
		"LinuxMemory.Reservation": {
			memory(&api.LinuxMemory{Reservation: api.Int64(9)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.Reservation }, int64(9),
		},
		"LinuxMemory.Kernel": {
			memory(&api.LinuxMemory{Kernel: api.Int64(9)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.Kernel }, int64(9), //nolint:staticcheck // deprecated, and still in NRI
		},
		"LinuxMemory.KernelTcp": {
			memory(&api.LinuxMemory{KernelTcp: api.Int64(9)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.KernelTCP }, int64(9),
		},
		"LinuxMemory.Swappiness": {
			memory(&api.LinuxMemory{Swappiness: api.UInt64(9)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.Swappiness }, uint64(9),
		},
		"LinuxMemory.DisableOomKiller": {
			memory(&api.LinuxMemory{DisableOomKiller: api.Bool(true)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.DisableOOMKiller }, true,
		},
		"LinuxMemory.UseHierarchy": {
			memory(&api.LinuxMemory{UseHierarchy: api.Bool(true)}),
			func(s *specs.Spec) any { return *s.Linux.Resources.Memory.UseHierarchy }, true,
		},
		"LinuxCPU.Shares": {
			cpu(&api.LinuxCPU{Shares: api.UInt64(9)}), func(s *specs.Spec) any { return *s.Linux.Resources.CPU.Shares }, uint64(9),
		},
		"LinuxCPU.Quota": {
			cpu(&api.LinuxCPU{Quota: api.Int64(9000)}), func(s *specs.Spec) any { return *s.Linux.Resources.CPU.Quota }, int64(9000),
		},
		"LinuxCPU.Period": {
			cpu(&api.LinuxCPU{Period: api.UInt64(9000)}), func(s *specs.Spec) any { return *s.Linux.Resources.CPU.Period }, uint64(9000),
		},
		"LinuxCPU.RealtimeRuntime": {
			cpu(&api.LinuxCPU{RealtimeRuntime: api.Int64(9)}), func(s *specs.Spec) any { return *s.Linux.Resources.CPU.RealtimeRuntime }, int64(9),
		},
		"LinuxCPU.RealtimePeriod": {
			cpu(&api.LinuxCPU{RealtimePeriod: api.UInt64(9)}), func(s *specs.Spec) any { return *s.Linux.Resources.CPU.RealtimePeriod }, uint64(9),
		},
		"LinuxCPU.Cpus": {cpu(&api.LinuxCPU{Cpus: "1"}), func(s *specs.Spec) any { return s.Linux.Resources.CPU.Cpus }, "1"},
		"LinuxCPU.Mems": {cpu(&api.LinuxCPU{Mems: "1"}), func(s *specs.Spec) any { return s.Linux.Resources.CPU.Mems }, "1"},
	} {
		t.Run(field, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.get(adjusted(t, tc.adjust))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
		adjustmentFields[field] = true
	}
	for _, message := range []any{
		&api.ContainerAdjustment{}, &api.LinuxContainerAdjustment{}, &api.LinuxResources{}, &api.LinuxMemory{}, &api.LinuxCPU{},
	} {
		kind := reflect.TypeOf(message).Elem()
		for i := range kind.NumField() {
			name := kind.Name() + "." + kind.Field(i).Name
			if kind.Field(i).IsExported() && !adjustmentFields[name] {
				t.Errorf("%s has no test case", name)
			}
		}
	}
}

// adjustmentFields are the fields with a test case; those that only hold others have none.
var adjustmentFields = map[string]bool{
	"ContainerAdjustment.Linux": true, "LinuxContainerAdjustment.Resources": true, "LinuxResources.Memory": true, "LinuxResources.Cpu": true,
}

// A plugin cannot pass a container off as another one or as a pod, and does not set a swap limit
// where the host has none.
func TestAdjustKeepsWhatPluginsMustNotChange(t *testing.T) {
	s := adjustable()
	a := &api.ContainerAdjustment{
		Annotations: map[string]string{
			AnnotationContainerType: ContainerTypeSandbox, AnnotationSandboxID: "other", "io.containerd.runc.v2.group": "other",
		},
		Linux: &api.LinuxContainerAdjustment{Resources: &api.LinuxResources{Memory: &api.LinuxMemory{Limit: api.Int64(9)}}},
	}
	s, err := Adjust(s, a, resolvers(), Facts{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{AnnotationContainerType: ContainerTypeContainer, "mine": "1"}
	if diff := cmp.Diff(want, s.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if s.Linux.Resources.Memory.Swap != nil {
		t.Errorf("swap limit %d", *s.Linux.Resources.Memory.Swap)
	}
	if a.GetLinux().GetResources().GetMemory() == nil {
		t.Error("the answer of the plugins was changed")
	}
}

// An unknown class is an error.
func TestAdjustFails(t *testing.T) {
	a := &api.ContainerAdjustment{Linux: &api.LinuxContainerAdjustment{Resources: &api.LinuxResources{BlockioClass: api.String("none")}}}
	if _, err := Adjust(adjustable(), a, resolvers(), Facts{}, Options{}); err == nil {
		t.Error("Adjust = nil")
	}
}

// Resources that no kernel accepts are refused.
func TestMergeNRIRefuses(t *testing.T) {
	for name, r := range map[string]*api.LinuxResources{
		"shares":                      {Cpu: &api.LinuxCPU{Shares: api.UInt64(uint64(1) << 63)}},
		"quota":                       {Cpu: &api.LinuxCPU{Quota: api.Int64(int64(9))}},
		"swap below the memory limit": {Memory: &api.LinuxMemory{Limit: api.Int64(int64(9)), Swap: api.Int64(int64(8))}},
	} {
		if _, err := MergeNRI(nil, r, Facts{SwapController: true}, Options{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
}

// Resources that a plugin requests are merged into a copy.
func TestMergeNRI(t *testing.T) {
	current := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(2)), Cpus: "0"}}
	got, err := MergeNRI(current, &api.LinuxResources{Cpu: &api.LinuxCPU{Cpus: "1"}}, Facts{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.CPU.Cpus != "1" || *got.CPU.Shares != 2 || current.CPU.Cpus != "0" {
		t.Errorf("merged %+v, current %+v", got.CPU, current.CPU)
	}
	if same, _ := MergeNRI(current, nil, Facts{}, Options{}); same != current {
		t.Errorf("without a request: %+v", same)
	}
}
