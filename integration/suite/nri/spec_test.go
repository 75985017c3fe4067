// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// adjustment is a request of a plugin.
type adjustment struct {
	name   string
	change func(a *api.ContainerAdjustment)
	// differs says why the specs of the two daemons differ, or "".
	differs string
}

// adjustments covers each method by which a plugin changes a container.
func adjustments() []adjustment {
	memory := func(set func(m *api.LinuxMemory)) func(*api.ContainerAdjustment) {
		return func(a *api.ContainerAdjustment) {
			m := &api.LinuxMemory{}
			set(m)
			a.Linux = &api.LinuxContainerAdjustment{Resources: &api.LinuxResources{Memory: m}}
		}
	}
	mount := func(destination string, options ...string) func(*api.ContainerAdjustment) {
		return func(a *api.ContainerAdjustment) {
			a.AddMount(&api.Mount{Destination: destination, Type: "bind", Source: "/", Options: options})
		}
	}
	hook := func(set func(h *api.Hooks, one []*api.Hook)) func(*api.ContainerAdjustment) {
		return func(a *api.ContainerAdjustment) {
			h := &api.Hooks{}
			set(h, []*api.Hook{{Path: "/bin/true", Args: []string{"true", "x"}, Env: []string{"A=1"}, Timeout: api.Int(3)}})
			a.AddHooks(h)
		}
	}
	const losesMemory = "stock drops all fields of memory but the limit"
	return []adjustment{
		{"nothing", func(*api.ContainerAdjustment) {}, ""},
		{"annotation", func(a *api.ContainerAdjustment) { a.AddAnnotation("example.com/a", "1") }, ""},
		{"annotation removed", func(a *api.ContainerAdjustment) { a.RemoveAnnotation("example.com/a") }, ""},
		{"annotation of a pod", func(a *api.ContainerAdjustment) { a.AddAnnotation("io.kubernetes.cri.container-type", "sandbox") },
			"stock passes a container off as a pod"},
		{"env", func(a *api.ContainerAdjustment) { a.AddEnv("NEW", "1") }, ""},
		{"env replaced", func(a *api.ContainerAdjustment) { a.RemoveEnv("PATH"); a.AddEnv("PATH", "/x") }, ""},
		{"env removed", func(a *api.ContainerAdjustment) { a.RemoveEnv("PATH") }, ""},
		{"two env", func(a *api.ContainerAdjustment) { a.AddEnv("ONE", "1"); a.AddEnv("TWO", "2") }, ""},
		{"args", func(a *api.ContainerAdjustment) { a.SetArgs([]string{"/bin/true"}) }, ""},
		{"args updated", func(a *api.ContainerAdjustment) { a.UpdateArgs([]string{"/bin/false", "x"}) }, ""},
		{"mount", mount("/out", "rbind", "ro"), ""},
		{"mount over another", mount("/proc/x"), ""},
		{"mount replaced", func(a *api.ContainerAdjustment) {
			a.RemoveMount("/dev/mqueue")
			a.AddMount(&api.Mount{Destination: "/dev/mqueue", Type: "tmpfs", Source: "tmpfs"})
		}, ""},
		{"mount removed", func(a *api.ContainerAdjustment) { a.RemoveMount("/dev/mqueue") }, ""},
		{"mount rprivate", mount("/out", "rbind", "rprivate"), ""},
		{"mount rslave", mount("/out", "rbind", "rslave"), ""},
		{"hook prestart", hook(func(h *api.Hooks, one []*api.Hook) { h.Prestart = one }), ""},
		{"hook createRuntime", hook(func(h *api.Hooks, one []*api.Hook) { h.CreateRuntime = one }), ""},
		{"hook createContainer", hook(func(h *api.Hooks, one []*api.Hook) { h.CreateContainer = one }), ""},
		{"hook startContainer", hook(func(h *api.Hooks, one []*api.Hook) { h.StartContainer = one }), ""},
		{"hook poststart", hook(func(h *api.Hooks, one []*api.Hook) { h.Poststart = one }), ""},
		{"hook poststop", hook(func(h *api.Hooks, one []*api.Hook) { h.Poststop = one }), ""},
		{"rlimit", func(a *api.ContainerAdjustment) { a.AddRlimit("RLIMIT_MEMLOCK", 9, 8) }, ""},
		{"device", func(a *api.ContainerAdjustment) {
			a.AddDevice(&api.LinuxDevice{Path: "/dev/pie", Type: "c", Major: 31, Minor: 41})
		}, ""},
		{"device with owner", func(a *api.ContainerAdjustment) {
			a.AddDevice(&api.LinuxDevice{
				Path: "/dev/pie", Type: "b", Major: 1, Minor: 2, FileMode: api.FileMode(0o640), Uid: api.UInt32(uint32(1)), Gid: api.UInt32(uint32(2)),
			})
		}, ""},
		{"device removed", func(a *api.ContainerAdjustment) { a.RemoveDevice("/dev/pie") }, ""},
		{"namespace", func(a *api.ContainerAdjustment) {
			a.AddOrReplaceNamespace(&api.LinuxNamespace{Type: "ipc", Path: "/proc/1/ns/ipc"})
		}, "the namespace that is replaced has another path"},
		{"namespace removed", func(a *api.ContainerAdjustment) { a.RemoveNamespace(&api.LinuxNamespace{Type: "cgroup"}) }, ""},
		{"sysctl", func(a *api.ContainerAdjustment) { a.SetLinuxSysctl("net.core.somaxconn", "9") }, ""},
		{"sysctl removed", func(a *api.ContainerAdjustment) {
			a.Linux = &api.LinuxContainerAdjustment{Sysctl: map[string]string{"-net.core.somaxconn": ""}}
		}, ""},
		{"network device", func(a *api.ContainerAdjustment) { a.AddLinuxNetDevice("eth9", &api.LinuxNetDevice{Name: "net9"}) }, ""},
		{"cgroups path", func(a *api.ContainerAdjustment) { a.SetLinuxCgroupsPath("/other") }, ""},
		{"oom score", func(a *api.ContainerAdjustment) { v := 77; a.SetLinuxOomScoreAdj(&v) }, ""},
		{"io priority", func(a *api.ContainerAdjustment) {
			a.SetLinuxIOPriority(&api.LinuxIOPriority{Class: api.IOPrioClass_IOPRIO_CLASS_BE, Priority: 4})
		}, ""},
		{"scheduler", func(a *api.ContainerAdjustment) {
			a.SetLinuxScheduler(&api.LinuxScheduler{Policy: api.LinuxSchedulerPolicy_SCHED_BATCH, Nice: 5})
		}, ""},
		{"memory policy", func(a *api.ContainerAdjustment) {
			a.Linux = &api.LinuxContainerAdjustment{MemoryPolicy: &api.LinuxMemoryPolicy{Mode: api.MpolMode_MPOL_LOCAL}}
		}, ""},
		{"seccomp policy", func(a *api.ContainerAdjustment) {
			a.SetLinuxSeccompPolicy(&api.LinuxSeccomp{DefaultAction: "SCMP_ACT_ALLOW", Architectures: []string{"SCMP_ARCH_X86_64"}})
		}, ""},
		{"seccomp policy with errno", func(a *api.ContainerAdjustment) {
			a.SetLinuxSeccompPolicy(&api.LinuxSeccomp{DefaultAction: "SCMP_ACT_ERRNO", DefaultErrno: api.UInt32(uint32(38))})
		}, "stock drops the errno"},
		{"rdt", func(a *api.ContainerAdjustment) { a.SetLinuxRDTClosID("gold") }, ""},
		{"rdt schemata", func(a *api.ContainerAdjustment) { a.SetLinuxRDTSchemata([]string{"L3:0=f"}) }, ""},
		{"rdt monitoring", func(a *api.ContainerAdjustment) { a.SetLinuxRDTEnableMonitoring(true) }, ""},
		{"rdt class", func(a *api.ContainerAdjustment) { a.SetLinuxRDTClass("gold") }, ""},
		{"unified", func(a *api.ContainerAdjustment) { a.AddLinuxUnified("memory.high", "9") }, ""},
		{"hugepages", func(a *api.ContainerAdjustment) { a.AddLinuxHugepageLimit("2MB", 1<<21) }, missingHugetlb()},
		{"pids", func(a *api.ContainerAdjustment) { a.SetLinuxPidLimits(99) }, ""},
		{"cpu shares", func(a *api.ContainerAdjustment) { a.SetLinuxCPUShares(99) }, ""},
		{"cpu quota", func(a *api.ContainerAdjustment) { a.SetLinuxCPUQuota(99000) }, ""},
		{"cpu period", func(a *api.ContainerAdjustment) { a.SetLinuxCPUPeriod(50000) }, ""},
		{"cpu realtime", func(a *api.ContainerAdjustment) { a.SetLinuxCPURealtimeRuntime(9); a.SetLinuxCPURealtimePeriod(10) }, ""},
		{"cpuset", func(a *api.ContainerAdjustment) { a.SetLinuxCPUSetCPUs("0"); a.SetLinuxCPUSetMems("0") }, ""},
		{"memory limit", memory(func(m *api.LinuxMemory) { m.Limit = api.Int64(1 << 30) }), ""},
		{"memory and swap", memory(func(m *api.LinuxMemory) { m.Limit, m.Swap = api.Int64(1<<30), api.Int64(1<<31) }), losesMemory},
		{"memory reservation", memory(func(m *api.LinuxMemory) { m.Reservation = api.Int64(1 << 20) }), losesMemory},
		{"memory swappiness", memory(func(m *api.LinuxMemory) { m.Swappiness = api.UInt64(10) }), losesMemory},
		{"memory kernel", memory(func(m *api.LinuxMemory) { m.Kernel, m.KernelTcp = api.Int64(9), api.Int64(8) }), losesMemory},
		{"memory oom killer", memory(func(m *api.LinuxMemory) { m.DisableOomKiller = api.Bool(true) }), losesMemory},
		{"memory hierarchy", memory(func(m *api.LinuxMemory) { m.UseHierarchy = api.Bool(true) }), losesMemory},
		{"device rule", func(a *api.ContainerAdjustment) {
			a.Linux = &api.LinuxContainerAdjustment{Resources: &api.LinuxResources{
				Devices: []*api.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: api.Int64(9), Minor: api.Int64(9), Access: "r"}},
			}}
		}, ""},
		{"env and mount", func(a *api.ContainerAdjustment) { a.AddEnv("A", "1"); mount("/a")(a) }, ""},
		{"many mounts", func(a *api.ContainerAdjustment) {
			for _, path := range []string{"/b", "/a/b/c", "/a"} {
				mount(path)(a)
			}
		}, ""},
	}
}

// missingHugetlb returns why the specs differ on a machine without this controller.
func missingHugetlb() string {
	controllers, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers") // of cgroup v2
	if _, err := os.Stat("/sys/fs/cgroup/hugetlb"); err == nil || strings.Contains(string(controllers), "hugetlb") {
		return ""
	}
	return "the machine has no hugetlb controller, and stock sets the limit"
}

// TestSameSpecs compares what adjustments change in the spec of a container on both daemons.
func TestSameSpecs(t *testing.T) {
	lite, stock := changes(t, harness.Lite), changes(t, harness.Stock)
	same := 0
	for _, a := range adjustments() {
		t.Run(a.name, func(t *testing.T) {
			diff := cmp.Diff(stock[a.name], lite[a.name])
			switch {
			case diff == "":
				same++
				if a.differs != "" {
					t.Errorf("the specs are equal; %s no more", a.differs)
				}
			case a.differs == "":
				t.Errorf("changes (-stock +lite):\n%s", diff)
			}
		})
	}
	fmt.Printf("report: NRI adjustments with the same spec as stock containerd's: %d of %d\n", same, len(adjustments()))
}

// changes returns the changes of the spec for each adjustment, one per line.
func changes(t *testing.T, daemon string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	t.Run(daemon, func(t *testing.T) {
		b := harness.StartWith(t, harness.Options{Daemon: daemon, NRI: harness.NRI{Enabled: true}})
		n := node{b, b.Client(t, image.Busybox)}
		var current func(a *api.ContainerAdjustment)
		p := &plugin{create: func(*api.Container) (*api.ContainerAdjustment, error) {
			a := &api.ContainerAdjustment{}
			current(a)
			return a, nil
		}}
		n.connectAnywhere(t, p)
		config := n.PodConfig("specs")
		pod, err := n.client.RunPod(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		current = func(*api.ContainerAdjustment) {}
		plain := n.specOf(t, pod, config, "plain")
		for i, a := range adjustments() {
			current = a.change
			spec := n.specOf(t, pod, config, fmt.Sprint("c", i))
			if all[a.name] = spec; len(spec) > 1 {
				all[a.name] = changed(plain, spec)
			}
		}
		if err := n.client.RemovePod(t.Context(), pod); err != nil {
			t.Error(err)
		}
	})
	return all
}

// connectAnywhere connects a plugin to either daemon.
func (n node) connectAnywhere(t *testing.T, p *plugin) {
	t.Helper()
	if n.Options.Daemon == harness.Lite {
		n.connect(t, "10", p)
		return
	}
	startStub(t, n, "10", p)
}

// specOf creates a container and returns its spec as lines, or "refused".
func (n node) specOf(t *testing.T, pod string, config *runtimeapi.PodSandboxConfig, name string) []string {
	t.Helper()
	c := harness.ContainerConfig(config, name, image.Busybox, "sleep", "1000")
	c.Annotations = map[string]string{"example.com/a": "0"}
	created, err := n.client.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: config})
	if err != nil {
		return []string{"refused"}
	}
	client, err := n.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	loaded, err := client.LoadContainer(t.Context(), created.ContainerId)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := loaded.Spec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return flatten(t, spec, created.ContainerId, name)
}

// flatten returns a line for each value in a spec. The ID and the name of the container are
// replaced, and elements of lists have no index: the order of mounts is compared by a line of its
// own.
func flatten(t *testing.T, spec *specs.Spec, id, name string) []string {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(id, "ID", `"`+name+`"`, `"NAME"`).Replace(string(text)))
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	var lines []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				walk(path+"."+key, value[key])
			}
		case []any:
			for _, element := range value {
				whole, _ := json.Marshal(element)
				lines = append(lines, path+"[] "+string(whole))
			}
		default:
			lines = append(lines, fmt.Sprintf("%s %v", path, value))
		}
	}
	walk("", tree)
	return lines
}

// changed returns the lines that are only in one of two specs. Values of zero that one daemon
// writes and the other leaves out are left out.
func changed(before, after []string) []string {
	count := map[string]int{}
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var lines []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		switch n := count[line]; {
		case n < 0:
			lines = append(lines, "- "+line)
		case n > 0:
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}
