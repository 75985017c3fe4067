// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// bad is a change to the fixture that Container must refuse, and the field that the error must
// name.
type bad struct {
	name   string
	field  string
	change func(*Input)
}

// security returns a change that sets the container's security context.
func security(change func(*runtimeapi.LinuxContainerSecurityContext)) func(*Input) {
	return func(in *Input) {
		sc := &runtimeapi.LinuxContainerSecurityContext{}
		change(sc)
		in.Config.Linux = &runtimeapi.LinuxContainerConfig{SecurityContext: sc}
	}
}

// podModes returns a change that sets the namespace options of pod and container.
func podModes(modes *runtimeapi.NamespaceOption) func(*Input) {
	return func(in *Input) {
		in.Pod.Config.Linux.SecurityContext.NamespaceOptions = modes
		in.Config.Linux = &runtimeapi.LinuxContainerConfig{
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{NamespaceOptions: modes},
		}
	}
}

func resourcesOf(r *runtimeapi.LinuxContainerResources) func(*Input) {
	return func(in *Input) { in.Config.Linux = &runtimeapi.LinuxContainerConfig{Resources: r} }
}

func mountOf(m *runtimeapi.Mount) func(*Input) {
	return func(in *Input) { in.Config.Mounts = []*runtimeapi.Mount{m} }
}

func badConfigs() []bad {
	return []bad{
		{"no metadata", "metadata.name", func(in *Input) { in.Config.Metadata = nil }},
		{"nil config", "metadata.name", func(in *Input) { in.Config = nil }},
		{"newline in name", "metadata.name", func(in *Input) { in.Config.Metadata.Name = "a\nb" }},
		{"newline in image name", "image.user_specified_image", func(in *Input) { in.Config.Image.UserSpecifiedImage = "a\nb" }},
		{"nil pod", "metadata.name", func(in *Input) { in.Pod.Config = nil }},
		{"NUL in namespace", "metadata.namespace", func(in *Input) { in.Pod.Config.Metadata.Namespace = "a\x00" }},
		{"newline in uid", "metadata.uid", func(in *Input) { in.Pod.Config.Metadata.Uid = "a\n" }},
		{"windows container", "windows", func(in *Input) { in.Config.Windows = &runtimeapi.WindowsContainerConfig{} }},
		{"windows pod", "windows", func(in *Input) { in.Pod.Config.Windows = &runtimeapi.WindowsPodSandboxConfig{} }},
		{"no label key", "labels", func(in *Input) { in.Config.Labels = map[string]string{"": "a"} }},
		{"annotations too long", "annotations", func(in *Input) {
			in.Config.Annotations = map[string]string{"a": strings.Repeat("x", maxMapBytes)}
		}},
		{"config too long", "config", func(in *Input) { in.Config.Args = []string{strings.Repeat("x", maxConfig)} }},
		{"log path above", "log_path", func(in *Input) { in.Config.LogPath = "a/../../b" }},
		{"log path absolute", "log_path", func(in *Input) { in.Config.LogPath = "/etc/passwd" }},
		{"log path of no file", "log_path", func(in *Input) { in.Config.LogPath = "a/.." }},
		{"log path with newline", "log_path", func(in *Input) { in.Config.LogPath = "a\nb" }},
		{"stop signal", "stop_signal", func(in *Input) { in.Config.StopSignal = 99 }},
		{"hostname with newline", "hostname", func(in *Input) { in.Pod.Config.Hostname = "a\nb" }},
		{"hostname with space", "hostname", func(in *Input) { in.Pod.Config.Hostname = "a b" }},
		{"hostname on the host's network", "hostname", func(in *Input) {
			in.Pod.Config.Linux.SecurityContext.NamespaceOptions.Network = modeNode
		}},
		{"hostname too long", "hostname", func(in *Input) { in.Pod.Config.Hostname = strings.Repeat("a", 65) }},
		{"cgroup parent ..", "linux.cgroup_parent", func(in *Input) { in.Pod.Config.Linux.CgroupParent = "/a/../../b" }},
		{"cgroup parent colon", "linux.cgroup_parent", func(in *Input) { in.Pod.Config.Linux.CgroupParent = "a:b:c.slice" }},
		{"cgroup parent NUL", "linux.cgroup_parent", func(in *Input) { in.Pod.Config.Linux.CgroupParent = "a\x00" }},
		{"cgroup parent long", "linux.cgroup_parent", func(in *Input) { in.Pod.Config.Linux.CgroupParent = strings.Repeat("a/", 4096) }},
	}
}

func badProcesses() []bad {
	env := func(key, value string) func(*Input) {
		return func(in *Input) { in.Config.Envs = []*runtimeapi.KeyValue{{Key: key, Value: []byte(value)}} }
	}
	return []bad{
		{"no command", "command", func(in *Input) { in.Image.Config.Entrypoint, in.Image.Config.Cmd = nil, nil }},
		{"NUL in argument", "command", func(in *Input) { in.Config.Args = []string{"a\x00b"} }},
		{"env without name", "envs[0]", env("", "x")},
		{"env name with =", "envs[0]", env("A=B", "x")},
		{"env name with newline", "envs[0]", env("A\nB", "x")},
		{"env value with NUL", "envs[0]", env("A", "x\x00y")},
		{"image env without name", "image env[0]", func(in *Input) { in.Image.Config.Env = []string{"=x"} }},
		{"image env with NUL", "image env[1]", func(in *Input) { in.Image.Config.Env = []string{"A=b", "C=\x00"} }},
		{"relative cwd", "working_dir", func(in *Input) { in.Config.WorkingDir = "srv" }},
		{"cwd of a process", "working_dir", func(in *Input) { in.Config.WorkingDir = "/proc/self/fd/8" }},
		{"cwd of a process, hidden", "working_dir", func(in *Input) { in.Config.WorkingDir = "/srv/../proc//1/./cwd" }},
		{"cwd of a thread", "image working dir", func(in *Input) { in.Image.Config.WorkingDir = "/proc/thread-self/root" }},
		{"cwd with newline", "working_dir", func(in *Input) { in.Config.WorkingDir = "/a\n" }},
		{"group too large", "supplemental_groups[1]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.SupplementalGroups = []int64{1, 1 << 31}
		})},
		{"group negative", "supplemental_groups[0]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.SupplementalGroups = []int64{-1}
		})},
		{"groups policy", "supplemental_groups_policy", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.SupplementalGroupsPolicy = 7
		})},
		{"unknown capability", "add_capabilities[0]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"FLY"}}
		})},
		{"empty capability", "drop_capabilities[1]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"KILL", ""}}
		})},
		{"all ambient", "add_ambient_capabilities", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Capabilities = &runtimeapi.Capability{AddAmbientCapabilities: []string{"ALL"}}
		})},
		{"privileged in plain pod", "privileged", security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Privileged = true })},
		{"old seccomp form", "seccomp_profile_path", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.SeccompProfilePath = "strict" //nolint:staticcheck // deprecated, but clients still send it
		})},
		{"seccomp type", "seccomp.profile_type", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: 9}
		})},
		{"seccomp without file", "seccomp.localhost_ref", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: localhost}
		})},
		{"seccomp file beside default", "seccomp.localhost_ref", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{LocalhostRef: "/x"}
		})},
		{"seccomp profile not JSON", "seccomp", func(in *Input) {
			security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
				sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: localhost, LocalhostRef: "/x"}
			})(in)
			in.SeccompProfile = []byte("{")
		}},
		{"seccomp profile empty", "seccomp", func(in *Input) {
			security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
				sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: localhost, LocalhostRef: "/x"}
			})(in)
			in.SeccompProfile = []byte("{}")
		}},
		{"apparmor type", "apparmor.profile_type", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: -1}
		})},
		{"apparmor name", "apparmor.localhost_ref", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: localhost, LocalhostRef: "a\nb"}
		})},
		{"masked path", "masked_paths[0]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.MaskedPaths = []string{"proc"} })},
		{"readonly path", "readonly_paths[1]", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.ReadonlyPaths = []string{"/proc", "/a\x00"}
		})},
	}
}

func badMounts() []bad {
	maps := []*runtimeapi.IDMapping{{HostId: 1, Length: 1}}
	device := func(d *runtimeapi.Device) func(*Input) {
		return func(in *Input) { in.Config.Devices = []*runtimeapi.Device{d} }
	}
	return []bad{
		{"nil mount", "mounts[0].container_path", mountOf(nil)},
		{"relative", "mounts[0].container_path", mountOf(&runtimeapi.Mount{ContainerPath: "data"})},
		{"root", "mounts[0].container_path", mountOf(&runtimeapi.Mount{ContainerPath: "/a/.."})},
		{"newline", "mounts[0].container_path", mountOf(&runtimeapi.Mount{ContainerPath: "/a\nb"})},
		{"long", "mounts[0].container_path", mountOf(&runtimeapi.Mount{ContainerPath: "/" + strings.Repeat("a", 70000)})},
		{"propagation", "mounts[0].propagation", mountOf(&runtimeapi.Mount{ContainerPath: "/a", Propagation: 3})},
		{"bidirectional", "mounts[0].propagation", mountOf(&runtimeapi.Mount{ContainerPath: "/a", Propagation: bidirectional})},
		{"recursive, not read-only", "mounts[0].recursive_read_only", mountOf(&runtimeapi.Mount{ContainerPath: "/a", RecursiveReadOnly: true})},
		{"recursive and slave", "mounts[0].recursive_read_only", mountOf(&runtimeapi.Mount{
			ContainerPath: "/a", Readonly: true, RecursiveReadOnly: true, Propagation: hostToPod,
		})},
		{"option", "mounts[0].mount_options[1]", mountOf(&runtimeapi.Mount{ContainerPath: "/a", MountOptions: []string{"nodev", "rw"}})},
		{"option of propagation", "mounts[0].mount_options[0]", mountOf(&runtimeapi.Mount{ContainerPath: "/a", MountOptions: []string{"rshared"}})},
		{"option twice", "mounts[0].mount_options[1]", mountOf(&runtimeapi.Mount{ContainerPath: "/a", MountOptions: []string{"nodev", "nodev"}})},
		{"image without a name", "mounts[0].image.image", mountOf(&runtimeapi.Mount{ContainerPath: "/a", Image: &runtimeapi.ImageSpec{}})},
		{"mapped without user namespace", "mounts[0].uidMappings", mountOf(&runtimeapi.Mount{
			ContainerPath: "/a", UidMappings: maps, GidMappings: maps,
		})},
		{"image and path", "mounts[0].host_path", mountOf(&runtimeapi.Mount{
			ContainerPath: "/a", HostPath: "/h", Image: &runtimeapi.ImageSpec{Image: "i"},
		})},
		{"image, writable", "mounts[0].readonly", mountOf(&runtimeapi.Mount{ContainerPath: "/a", Image: &runtimeapi.ImageSpec{Image: "i"}})},
		{"sub path, no image", "mounts[0].image_sub_path", mountOf(&runtimeapi.Mount{ContainerPath: "/a", ImageSubPath: "x"})},
		{"uids only", "mounts[0].uidMappings", mountOf(&runtimeapi.Mount{ContainerPath: "/a", UidMappings: maps})},
		{"gids wrong", "mounts[0].gidMappings[0].length", mountOf(&runtimeapi.Mount{
			ContainerPath: "/a", UidMappings: maps, GidMappings: []*runtimeapi.IDMapping{nil},
		})},
		{"nil device", "devices[0].permissions", device(nil)},
		{"device permissions", "devices[0].permissions", device(&runtimeapi.Device{ContainerPath: "/dev/a", Permissions: "rwx"})},
		{"device permissions twice", "devices[0].permissions", device(&runtimeapi.Device{ContainerPath: "/dev/a", Permissions: "rr"})},
		{"device at the root", "devices[0].container_path", device(&runtimeapi.Device{ContainerPath: "/a/..", Permissions: "r"})},
		{"device path", "devices[0].container_path", device(&runtimeapi.Device{ContainerPath: "dev/a", Permissions: "r"})},
	}
}

func badNamespaces() []bad {
	userns := func(mode runtimeapi.NamespaceMode, mappings ...*runtimeapi.IDMapping) func(*Input) {
		return podModes(&runtimeapi.NamespaceOption{
			Pid:           modeContainer,
			UsernsOptions: &runtimeapi.UserNamespace{Mode: mode, Uids: mappings, Gids: mappings},
		})
	}
	return []bad{
		{"network CONTAINER", "network", podModes(&runtimeapi.NamespaceOption{Network: modeContainer})},
		{"ipc TARGET", "ipc", podModes(&runtimeapi.NamespaceOption{Ipc: modeTarget})},
		{"pid TARGET for the pod", "pid", podModes(&runtimeapi.NamespaceOption{Pid: modeTarget})},
		{"pid NODE in plain pod", "pid", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: modeNode}
		})},
		{"pid unknown", "pid", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: 9}
		})},
		{"userns CONTAINER", "userns_options.mode", userns(modeContainer)},
		{"userns NODE with mapping", "userns_options", userns(modeNode, &runtimeapi.IDMapping{HostId: 1, Length: 1})},
		{"userns without mapping", "userns_options", userns(modePod)},
		{"userns nil mapping", "uids[0].length", userns(modePod, nil)},
		{"userns length 0", "uids[0].length", userns(modePod, &runtimeapi.IDMapping{HostId: 1})},
		{"userns host root", "uids[0].host_id", userns(modePod, &runtimeapi.IDMapping{Length: 10})},
		{"userns wraps", "uids[0]", userns(modePod, &runtimeapi.IDMapping{HostId: 1<<32 - 10, Length: 11})},
		{"userns overlaps on host", "uids", userns(modePod,
			&runtimeapi.IDMapping{ContainerId: 100, HostId: 1005, Length: 10}, &runtimeapi.IDMapping{HostId: 1000, Length: 10})},
		{"userns overlaps inside", "uids", userns(modePod,
			&runtimeapi.IDMapping{HostId: 1000, Length: 10}, &runtimeapi.IDMapping{ContainerId: 9, HostId: 2000, Length: 10})},
		{"userns of the container only", "userns_options", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			m := []*runtimeapi.IDMapping{{HostId: 1000, Length: 10}}
			sc.NamespaceOptions = &runtimeapi.NamespaceOption{UsernsOptions: &runtimeapi.UserNamespace{Uids: m, Gids: m}}
		})},
		{"user not mapped", "run_as_user", func(in *Input) {
			userns(modePod, &runtimeapi.IDMapping{HostId: 1000, Length: 10})(in)
			in.User = User{UID: 10, Name: "app"}
		}},
		{"group not mapped", "supplemental_groups", func(in *Input) {
			userns(modePod, &runtimeapi.IDMapping{HostId: 1000, Length: 10})(in)
			in.User = User{UID: 9, AdditionalGIDs: []uint32{11}}
		}},
	}
}

func badResources() []bad {
	unified := func(key, value string) func(*Input) {
		return resourcesOf(&runtimeapi.LinuxContainerResources{Unified: map[string]string{key: value}})
	}
	page := func(size string) func(*Input) {
		return resourcesOf(&runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: size}}})
	}
	return []bad{
		{"period", "cpu_period", resourcesOf(&runtimeapi.LinuxContainerResources{CpuPeriod: -1})},
		{"quota", "cpu_quota", resourcesOf(&runtimeapi.LinuxContainerResources{CpuQuota: -2})},
		{"period below the kernel's", "cpu_period", resourcesOf(&runtimeapi.LinuxContainerResources{CpuPeriod: 999})},
		{"period above the kernel's", "cpu_period", resourcesOf(&runtimeapi.LinuxContainerResources{CpuPeriod: 1000001})},
		{"quota below the kernel's", "cpu_quota", resourcesOf(&runtimeapi.LinuxContainerResources{CpuQuota: 999})},
		{"quota too large", "cpu_quota", resourcesOf(&runtimeapi.LinuxContainerResources{CpuQuota: 1<<63 - 1})},
		{"shares below the kernel's", "cpu_shares", resourcesOf(&runtimeapi.LinuxContainerResources{CpuShares: 1})},
		{"shares", "cpu_shares", resourcesOf(&runtimeapi.LinuxContainerResources{CpuShares: 1 << 62})},
		{"memory", "memory_limit_in_bytes", resourcesOf(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: -2})},
		{"swap", "memory_swap_limit_in_bytes", resourcesOf(&runtimeapi.LinuxContainerResources{MemorySwapLimitInBytes: -5})},
		{"swap below memory", "memory_swap_limit_in_bytes", resourcesOf(&runtimeapi.LinuxContainerResources{
			MemoryLimitInBytes: 10, MemorySwapLimitInBytes: 9,
		})},
		{"oom score", "oom_score_adj", resourcesOf(&runtimeapi.LinuxContainerResources{OomScoreAdj: 1001})},
		{"oom score low", "oom_score_adj", resourcesOf(&runtimeapi.LinuxContainerResources{OomScoreAdj: -1 << 40})},
		{"cpus", "cpuset_cpus", resourcesOf(&runtimeapi.LinuxContainerResources{CpusetCpus: "0-1,"})},
		{"mems", "cpuset_mems", resourcesOf(&runtimeapi.LinuxContainerResources{CpusetMems: "0\n1"})},
		{"page size", "hugepage_limits[0].page_size", page("../2MB")},
		{"page size empty", "hugepage_limits[0].page_size", page("")},
		{"page size twice", "hugepage_limits[1].page_size", resourcesOf(&runtimeapi.LinuxContainerResources{
			HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 1}, {PageSize: "2MB", Limit: 2}},
		})},
		{"unified and field", "unified", resourcesOf(&runtimeapi.LinuxContainerResources{
			MemoryLimitInBytes: 10, Unified: map[string]string{"memory.max": "9"},
		})},
		{"unified and quota", "unified", resourcesOf(&runtimeapi.LinuxContainerResources{
			CpuPeriod: 100000, Unified: map[string]string{"cpu.max": "max"},
		})},
		{"unified path", "unified", unified("../memory.max", "1")},
		{"unified name", "unified", unified("memory", "1")},
		{"unified dot", "unified", unified(".max", "1")},
		{"unified newline", "unified", unified("memory.max\n", "1")},
		{"unified value", "unified[memory.max]", unified("memory.max", "1\n2")},
	}
}

func TestInvalid(t *testing.T) {
	for group, cases := range map[string][]bad{
		"config":     badConfigs(),
		"process":    badProcesses(),
		"mounts":     badMounts(),
		"namespaces": badNamespaces(),
		"resources":  badResources(),
	} {
		for _, c := range cases {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				in := fixture()
				c.change(&in)
				resolve(&in)
				s, err := Container(in)
				if s != nil || !errdefs.IsInvalidArgument(err) {
					t.Fatalf("spec %v, error %v, want class InvalidArgument", s, err)
				}
				if !strings.Contains(err.Error(), c.field+":") {
					t.Errorf("error %q does not name the field %s", err, c.field)
				}
			})
		}
	}
}

// TestPrivilegedInPlainPod checks the text of the built-in CRI, which the kubelet's tests look for.
func TestPrivilegedInPlainPod(t *testing.T) {
	in := fixture()
	security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Privileged = true })(&in)
	resolve(&in)
	if _, err := Container(in); err == nil || !strings.Contains(err.Error(), "no privileged container allowed in sandbox") {
		t.Errorf("error %v", err)
	}
}

// TestRequestsThatTheNodeCannotServe uses valid requests that this machine or pod cannot serve.
func TestRequestsThatTheNodeCannotServe(t *testing.T) {
	cases := []bad{
		{"unified on v1", "unified", func(in *Input) {
			in.Facts.CgroupV2 = false
			resourcesOf(&runtimeapi.LinuxContainerResources{Unified: map[string]string{"memory.max": "1"}})(in)
		}},
		{"no hugetlb", "hugepage_limits", func(in *Input) {
			in.Facts.Hugetlb = false
			resourcesOf(&runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB"}}})(in)
		}},
		{"no seccomp", "seccomp", func(in *Input) {
			in.Facts.Seccomp = false
			in.Options.UnsetSeccompProfile = "runtime/default"
		}},
		{"no apparmor", "apparmor", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.ApparmorProfile = "runtime/default" //nolint:staticcheck // deprecated, but clients still send it
		})},
		{"shared pid gone", "pid", podModes(&runtimeapi.NamespaceOption{})},
		{"no target", "target_id", security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: modeTarget, TargetId: "c0"}
		})},
		{"source private", "mounts[0].propagation", func(in *Input) {
			mountOf(&runtimeapi.Mount{ContainerPath: "/a", HostPath: "/h", Propagation: hostToPod})(in)
			in.Mounts = []MountSource{{Path: "/h"}}
		}},
		{"source only slave", "mounts[0].propagation", func(in *Input) {
			security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Privileged = true })(in)
			in.Pod.Config.Linux.SecurityContext.Privileged = true
			mountOf(&runtimeapi.Mount{ContainerPath: "/a", HostPath: "/h", Propagation: bidirectional})(in)
			in.Mounts = []MountSource{{Path: "/h", Slave: true}}
		}},
		{"no rro", "mounts[0].recursive_read_only", func(in *Input) {
			in.Facts.RecursiveReadOnly = false
			mountOf(&runtimeapi.Mount{ContainerPath: "/a", Readonly: true, RecursiveReadOnly: true})(in)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := fixture()
			c.change(&in)
			resolve(&in)
			_, err := Container(in)
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), c.field+":") {
				t.Errorf("error %v, want class FailedPrecondition naming %s", err, c.field)
			}
			if c.name == "no rro" && !errors.Is(err, crierrors.ErrRROUnsupported) {
				t.Errorf("error %v is not ErrRROUnsupported", err)
			}
		})
	}
}

func TestPodInitInvalid(t *testing.T) {
	for _, c := range []struct {
		field string
		sc    *runtimeapi.LinuxSandboxSecurityContext
	}{
		{"run_as_group", &runtimeapi.LinuxSandboxSecurityContext{RunAsGroup: &runtimeapi.Int64Value{Value: 1}}},
		{"run_as_user", &runtimeapi.LinuxSandboxSecurityContext{RunAsUser: &runtimeapi.Int64Value{Value: -1}}},
		{"network", &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Network: 9}}},
	} {
		f := fixture()
		f.Pod.Config.Linux.SecurityContext = c.sc
		_, err := PodInit(PodInitInput{Pod: f.Pod, Facts: f.Facts})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.field+":") {
			t.Errorf("error %v, want class InvalidArgument naming %s", err, c.field)
		}
	}
}
