// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type containerConfig = runtimeapi.ContainerConfig

// badProcesses have bad values in the name, the description or the process of a container.
func badProcesses() []badContainer {
	env := func(key, value string) func(*containerConfig) {
		return func(c *containerConfig) { c.Envs = []*runtimeapi.KeyValue{{Key: key, Value: []byte(value)}} }
	}
	directory := func(dir string) func(*containerConfig) {
		return func(c *containerConfig) { c.WorkingDir = dir }
	}
	log := func(path string) func(*containerConfig) { return func(c *containerConfig) { c.LogPath = path } }
	return []badContainer{
		{name: "metadata empty", change: func(c *containerConfig) { c.Metadata = &runtimeapi.ContainerMetadata{} }},
		{name: "name with NUL", change: func(c *containerConfig) { c.Metadata.Name = "a\x00" }},
		{name: "image empty", change: func(c *containerConfig) { c.Image = &runtimeapi.ImageSpec{} }},
		{name: "image malformed", change: func(c *containerConfig) { c.Image.Image = "../busybox" }},
		{name: "image name with newline", change: func(c *containerConfig) { c.Image.UserSpecifiedImage = "a\nb" }},
		{name: "label without key", change: func(c *containerConfig) { c.Labels[""] = "a" }},
		{name: "label too long", change: func(c *containerConfig) { c.Labels["a"] = strings.Repeat("v", 4096) }},
		{name: "annotations of 10 MiB", change: func(c *containerConfig) {
			c.Annotations = map[string]string{"a": strings.Repeat("v", 10<<20)}
		}},
		{name: "annotation of CDI", change: func(c *containerConfig) {
			c.Annotations = map[string]string{"cdi.k8s.io/a": "no device"}
		}},
		{name: "argument with NUL", change: func(c *containerConfig) { c.Args = []string{"a\x00b"} }},
		{name: "arguments of 10 MiB", change: func(c *containerConfig) { c.Args = []string{strings.Repeat("v", 10<<20)} }},
		{name: "variable without name", change: env("", "a")},
		{name: "variable name with =", change: env("A=B", "c")},
		{name: "variable with NUL", change: env("A", "a\x00b")},
		{name: "directory relative", change: directory("tmp")},
		{name: "directory of a process", change: directory("/proc/self/fd/7")},
		{name: "directory of a process, not clean", change: directory("/tmp/../proc/1/../self/cwd")},
		{name: "directory with NUL", change: directory("/tmp\x00")},
		{name: "stop signal unknown", change: func(c *containerConfig) { c.StopSignal = 1000 }},
		{name: "stop signal negative", change: func(c *containerConfig) { c.StopSignal = -9 }},
		{name: "log outside its directory", change: log("../../x")},
		{name: "log outside, not clean", change: log("a/../../../x")},
		{name: "log absolute", change: log("/etc/cron.d/x")},
		{name: "log with newline", change: log("a\nb")},
		{name: "windows", change: func(c *containerConfig) { c.Windows = &runtimeapi.WindowsContainerConfig{} }},
	}
}

// badSecurity have bad values in the security context.
func badSecurity(b bench) []badContainer {
	security := func(change func(*runtimeapi.LinuxContainerSecurityContext)) func(*containerConfig) {
		return func(c *containerConfig) { change(c.Linux.SecurityContext) }
	}
	capability := func(c *runtimeapi.Capability) func(*containerConfig) {
		return security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Capabilities = c })
	}
	seccomp := func(kind runtimeapi.SecurityProfile_ProfileType, ref string) func(*containerConfig) {
		return security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
		})
	}
	modes := func(o *runtimeapi.NamespaceOption) func(*containerConfig) {
		return security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.NamespaceOptions = o })
	}
	id := func(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }
	const local = runtimeapi.SecurityProfile_Localhost
	return []badContainer{
		{name: "capability unknown", change: capability(&runtimeapi.Capability{AddCapabilities: []string{"FLY"}})},
		{name: "capability empty", change: capability(&runtimeapi.Capability{DropCapabilities: []string{""}})},
		{name: "capability with NUL", change: capability(&runtimeapi.Capability{AddCapabilities: []string{"KILL\x00"}})},
		{name: "all ambient capabilities", change: capability(&runtimeapi.Capability{AddAmbientCapabilities: []string{"ALL"}})},
		{name: "privileged in a plain pod", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Privileged = true })},
		{name: "user negative", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsUser = id(-1) })},
		{name: "user too large", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsUser = id(1 << 33) })},
		{name: "user name malformed", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsUsername = "a:b" })},
		{name: "user that could be a number", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsUsername = "+0" })},
		{name: "group without user", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsGroup = id(1) })},
		{name: "group negative", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.RunAsUser, sc.RunAsGroup = id(1), id(-1) })},
		{name: "groups too large", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.SupplementalGroups = []int64{1 << 32} })},
		{name: "groups policy unknown", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.SupplementalGroupsPolicy = 9 })},
		{name: "seccomp type unknown", change: seccomp(9, "")},
		{name: "seccomp without file", change: seccomp(local, "")},
		{name: "seccomp relative", change: seccomp(local, "profile.json")},
		{name: "seccomp with NUL", change: seccomp(local, "/a\x00")},
		{name: "seccomp that is a directory", change: seccomp(local, b.Root)},
		{name: "seccomp that is no profile", change: seccomp(local, b.Daemon.Config)},
		{name: "seccomp that is endless", change: seccomp(local, "/dev/zero")},
		{name: "seccomp missing", change: seccomp(local, b.Path("absent.json")), code: codes.NotFound},
		{name: "seccomp default with a file", change: seccomp(runtimeapi.SecurityProfile_RuntimeDefault, "/a")},
		{name: "apparmor type unknown", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: 9}
		})},
		{name: "masked path relative", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.MaskedPaths = []string{"proc"} })},
		{name: "read-only path with NUL", change: security(func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.ReadonlyPaths = []string{"/\x00"} })},
		{name: "pid mode unknown", change: modes(&runtimeapi.NamespaceOption{Pid: 9})},
		{name: "pid of the node in a plain pod", change: modes(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_NODE})},
		{name: "pid target missing", change: modes(&runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET})},
		{name: "pid of a missing container", change: modes(&runtimeapi.NamespaceOption{
			Pid: runtimeapi.NamespaceMode_TARGET, TargetId: missing,
		}), code: codes.NotFound},
		{name: "userns in a plain pod", change: modes(&runtimeapi.NamespaceOption{
			Pid: runtimeapi.NamespaceMode_CONTAINER,
			UsernsOptions: &runtimeapi.UserNamespace{
				Mode: runtimeapi.NamespaceMode_POD, Uids: []*runtimeapi.IDMapping{{HostId: 1, Length: 1}}, Gids: []*runtimeapi.IDMapping{{HostId: 1, Length: 1}},
			},
		})},
	}
}

// badResources have bad values in the resources.
func badResources() []badContainer {
	var list []badContainer
	limits := badLimits()
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		list = append(list, badContainer{name: name, change: func(c *containerConfig) { c.Linux.Resources = limits[name] }})
	}
	return list
}

// badLimits are limits that are invalid for every container.
func badLimits() map[string]*runtimeapi.LinuxContainerResources {
	const least = -1 << 63
	page := func(size string) *runtimeapi.LinuxContainerResources {
		return &runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: size, Limit: 1}}}
	}
	return map[string]*runtimeapi.LinuxContainerResources{
		"cpu period negative":      {CpuPeriod: -1},
		"cpu period too large":     {CpuPeriod: 1<<63 - 1},
		"cpu quota negative":       {CpuQuota: -2},
		"cpu quota too large":      {CpuQuota: 1<<63 - 1},
		"cpu quota too small":      {CpuQuota: 1},
		"cpu shares negative":      {CpuShares: least},
		"cpu shares too large":     {CpuShares: 1 << 62},
		"memory negative":          {MemoryLimitInBytes: -2},
		"memory most negative":     {MemoryLimitInBytes: least},
		"swap negative":            {MemorySwapLimitInBytes: -2},
		"swap below memory":        {MemoryLimitInBytes: 1 << 30, MemorySwapLimitInBytes: 1 << 20},
		"oom score too large":      {OomScoreAdj: 1001},
		"oom score too small":      {OomScoreAdj: least},
		"cpuset malformed":         {CpusetCpus: "0-"},
		"cpuset with newline":      {CpusetCpus: "0\n1"},
		"memory nodes malformed":   {CpusetMems: "all"},
		"page size empty":          page(""),
		"page size that is a path": page("../2MB"),
		"page size that overflows": page("99999999999GB"),
		"page size in lower case":  page("2mb"),
	}
}

// badMounts have bad values in a mount.
func badMounts(t *testing.T, b bench) []badContainer {
	t.Helper()
	dir := t.TempDir()
	dangling, loop := filepath.Join(dir, "dangling"), filepath.Join(dir, "loop")
	for link, target := range map[string]string{dangling: "absent", loop: "loop"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(m *runtimeapi.Mount) func(*containerConfig) {
		return func(c *containerConfig) { c.Mounts = []*runtimeapi.Mount{m} }
	}
	at := func(path string) func(*containerConfig) {
		return mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: path})
	}
	from := func(path string) func(*containerConfig) {
		return mount(&runtimeapi.Mount{HostPath: path, ContainerPath: "/mnt"})
	}
	options := func(o ...string) func(*containerConfig) {
		return mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/mnt", MountOptions: o})
	}
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
	return []badContainer{
		{name: "mount of nothing", change: mount(&runtimeapi.Mount{})},
		{name: "mount at no path", change: at("")},
		{name: "mount at a relative path", change: at("mnt")},
		{name: "mount at the root", change: at("/mnt/..")},
		{name: "mount at a path with newline", change: at("/mnt\n")},
		{name: "mount at a path too long", change: at("/" + strings.Repeat("a", 5000))},
		{name: "mount from no path", change: from("")},
		{name: "mount from a relative path", change: from("etc")},
		{name: "mount from a path with NUL", change: from("/etc\x00")},
		{name: "mount from a path too long", change: from("/" + strings.Repeat("a", 5000))},
		{name: "mount from below a file", change: from(b.Daemon.Config + "/absent")},
		{name: "mount from a loop of links", change: from(loop)},
		{name: "mount from a link to nothing", change: from(dangling), code: codes.NotFound},
		{name: "mount of unknown propagation", change: mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/mnt", Propagation: 9})},
		{name: "mount bidirectional without privileges", change: mount(&runtimeapi.Mount{
			HostPath: dir, ContainerPath: "/mnt", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL,
		})},
		{name: "mount recursively read-only and writable", change: mount(&runtimeapi.Mount{
			HostPath: dir, ContainerPath: "/mnt", RecursiveReadOnly: true,
		})},
		{name: "mount option unknown", change: options("suid")},
		{name: "mount option that contradicts", change: options("nodev", "rw")},
		{name: "mount option twice", change: options("nodev", "nodev")},
		{name: "mount option with a comma", change: options("nodev,rw")},
		{name: "mount mapped in a plain pod", change: mount(&runtimeapi.Mount{
			HostPath: dir, ContainerPath: "/mnt", UidMappings: ids, GidMappings: ids,
		})},
		{name: "mount of an image and a path", change: mount(&runtimeapi.Mount{
			HostPath: dir, ContainerPath: "/mnt", Readonly: true, Image: &runtimeapi.ImageSpec{Image: "docker.io/library/busybox:latest"},
		})},
		{name: "mount of a missing image", change: mount(&runtimeapi.Mount{
			ContainerPath: "/mnt", Readonly: true, Image: &runtimeapi.ImageSpec{Image: "docker.io/library/absent:latest"},
		}), code: codes.NotFound},
		{name: "mount with a sub path but no image", change: mount(&runtimeapi.Mount{
			HostPath: dir, ContainerPath: "/mnt", ImageSubPath: "a",
		})},
	}
}

// badDevices have bad values in a device.
func badDevices(t *testing.T) []badContainer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	device := func(host, container, permissions string) func(*containerConfig) {
		return func(c *containerConfig) {
			c.Devices = []*runtimeapi.Device{{HostPath: host, ContainerPath: container, Permissions: permissions}}
		}
	}
	return []badContainer{
		{name: "device from no path", change: device("", "/dev/a", "r")},
		{name: "device from a relative path", change: device("dev/null", "/dev/a", "r")},
		{name: "device from a path with NUL", change: device("/dev/null\x00", "/dev/a", "r")},
		{name: "device that is a file", change: device(file, "/dev/a", "r")},
		{name: "device missing", change: device("/dev/absent", "/dev/a", "r"), code: codes.NotFound},
		{name: "device at a relative path", change: device("/dev/null", "dev/a", "r")},
		{name: "device at the root", change: device("/dev/null", "/dev/..", "r")},
		{name: "device at a path with newline", change: device("/dev/null", "/dev/a\n", "r")},
		{name: "device without permissions", change: device("/dev/null", "/dev/a", "")},
		{name: "device with unknown permissions", change: device("/dev/null", "/dev/a", "rx")},
		{name: "device with permissions twice", change: device("/dev/null", "/dev/a", "rrw")},
		{name: "CDI device unknown", change: func(c *containerConfig) {
			c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "bench.test/absent=one"}}
		}, code: codes.NotFound},
		{name: "CDI device without name", change: func(c *containerConfig) {
			c.CDIDevices = []*runtimeapi.CDIDevice{{}}
		}, code: codes.NotFound},
	}
}
