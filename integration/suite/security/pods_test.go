// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks through the configs of pods and containers.

// c07 mounts a file of the host over files of the pod and requests a relabel.
func c07(a *attack) {
	p := a.pod(quick)
	c := p.container(image.Busybox, "cat /etc/hosts >/dev/null", func(c *containerConfig) {
		for _, path := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} {
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{
				HostPath: a.host.Path("file"), ContainerPath: path, SelinuxRelabel: true, Readonly: true,
			})
		}
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{HostPath: a.host.Path("dir"), ContainerPath: "/dev/shm", SelinuxRelabel: true, Readonly: true})
	})
	p.output(c)
}

// o02 sets sysctls that contain a second sysctl or a path.
func o02(a *attack) {
	for name, sysctls := range map[string]map[string]string{
		"value with another":     {"kernel.shm_rmid_forced": "1+kernel.core_pattern=|/evil"},
		"value with a newline":   {"kernel.shm_rmid_forced": "1\nkernel.core_pattern=|/evil"},
		"value with a NUL":       {"kernel.shm_rmid_forced": "1\x00"},
		"name with =":            {"kernel.shm_rmid_forced=1+kernel.core_pattern": "|/evil"},
		"name with +":            {"kernel.shm_rmid_forced+kernel.core_pattern": "|/evil"},
		"path":                   {"net/../kernel/core_pattern": "|/evil"},
		"path of dots":           {"net....kernel.core_pattern": "|/evil"},
		"name with a newline":    {"net.ipv4.ip_forward\nkernel.core_pattern": "|/evil"},
		"name with a NUL":        {"net.ipv4.ip_forward\x00": "1"},
		"no name":                {"": "1"},
		"of the node":            {"kernel.core_pattern": "|/evil"},
		"of the node, by a path": {"kernel/core_pattern": "|/evil"},
		"in two spellings":       {"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"},
	} {
		_, err := a.tryPod(a.podConfig(func(c *podConfig) { c.Linux.Sysctls = sysctls }))
		a.refused(name, err)
	}
}

// o03 sets sysctls for pods in namespaces of the host.
func o03(a *attack) {
	onHost := func(c *podConfig) {
		quick(c)
		c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
	}
	for name, value := range map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "1", "net.ipv4.tcp_syncookies": "0", "kernel.shm_rmid_forced": "1",
		"kernel.msgmax": "12345", "kernel.shmmax": "12345", "fs.mqueue.msg_max": "11",
	} {
		id, err := a.tryPod(a.podConfig(onHost, func(c *podConfig) { c.Linux.Sysctls = map[string]string{name: value} }))
		a.Logf("%s: %q, %v", name, id, err)
	}
}

// runtimeAnnotations returns annotations that some OCI runtime or CRI implementation acts on.
func runtimeAnnotations() map[string]string {
	all := map[string]string{
		"org.systemd.property.ExecStartPre":                  "['/bin/sh']",
		"org.systemd.property.MemoryMax":                     "uint64 1",
		"run.oci.seccomp_bpf_file":                           "/x",
		"run.oci.keep_original_groups":                       "1",
		"run.oci.mount_context_type":                         "rootcontext",
		"run.oci.hooks.stdout":                               "/dev/null",
		"run.oci.handler":                                    "krun",
		"io.katacontainers.config.hypervisor.path":           "/bin/sh",
		"io.katacontainers.config.runtime.disable_new_netns": "true",
		"module.wasm.image/variant":                          "compat",
		"linux.readonly_rootfs":                              "false",
		"io.kubernetes.cri-o.userns-mode":                    "host",
		"io.kubernetes.cri-o.Devices":                        "/dev/sda:/dev/sda:rwm",
		"io.kubernetes.cri-o.ShmSize":                        "1Gi",
		"io.kubernetes.cri-o.UnifiedCgroup.c1":               "memory.max=max",
		"io.kubernetes.cri-o.seccompNotifierAction":          "stop",
		"cpu-quota.crio.io":                                  "disable",
		"io.kubernetes.cri.untrusted":                        "true",
		"io.containerd.runc.v2.group":                        "victim",
		"nerdctl/oci-hook":                                   "/bin/sh",
		"dev.gvisor.spec.mount.x.source":                     "/",
		"com.nvidia.cdi":                                     "all",
	}
	for key, value := range maps.Clone(all) {
		all[strings.ToUpper(key)] = value
		all["x"+key] = value
		all[key+"/x"] = value
	}
	return all
}

// o09 sets annotations that runtimes act on in a pod, its container and its image.
func o09(a *attack) {
	annotations := runtimeAnnotations()
	img := a.with()
	img.Config = command("exec sleep 1000")
	plain := a.image(img)
	img.Annotations, img.Config.Labels = annotations, annotations
	evil := a.image(img)
	specOf := func(ref string, annotations map[string]string) *specs.Spec {
		p := a.pod(quick, func(c *podConfig) { c.Annotations = annotations })
		id, err := p.create(p.container(ref, "", func(c *containerConfig) { c.Annotations = annotations }))
		if err != nil {
			a.Fatal(err)
		}
		_, spec := a.stored(id)
		return spec
	}
	with, without := specOf(evil, annotations), specOf(plain, nil)
	for key := range with.Annotations {
		if _, ours := without.Annotations[key]; !ours {
			a.Errorf("the spec has the annotation %s", key)
		}
	}
	a.sameSpec(with, without)
}

// sameSpec compares the parts of a spec that an annotation could change. It leaves out paths and
// namespaces, which differ for each pod.
func (a *attack) sameSpec(got, want *specs.Spec) {
	a.Helper()
	type part struct {
		Process   *specs.Process
		Hooks     *specs.Hooks
		Resources *specs.LinuxResources
		Devices   []specs.LinuxDevice
		Seccomp   *specs.LinuxSeccomp
		Mounts    int
		Root      bool
	}
	of := func(s *specs.Spec) part {
		env := slices.DeleteFunc(slices.Clone(s.Process.Env), func(v string) bool { return strings.HasPrefix(v, "HOSTNAME=") })
		s.Process.Env = env
		return part{s.Process, s.Hooks, s.Linux.Resources, s.Linux.Devices, s.Linux.Seccomp, len(s.Mounts), s.Root.Readonly}
	}
	if diff := cmp.Diff(of(want), of(got)); diff != "" {
		a.Errorf("annotations change the spec (-without +with):\n%s", diff)
	}
}

// m04 sets annotations without a size limit.
func m04(a *attack) {
	large := func(size int) map[string]string { return map[string]string{"evil.test/a": strings.Repeat("v", size)} }
	p := a.pod(quick, func(c *podConfig) { c.Annotations = large(200 << 10) })
	answer, err := a.PodSandboxStatus(a.ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil || len(answer.Status.Annotations["evil.test/a"]) != 200<<10 {
		a.Errorf("annotations of 200 KiB: %d bytes, %v", len(answer.GetStatus().GetAnnotations()["evil.test/a"]), err)
	}
	a.growth(128, func() {
		_, err := a.tryPod(a.podConfig(quick, func(c *podConfig) { c.Annotations = large(10 << 20) }))
		a.refused("annotations of 10 MiB", err)
		_, err = p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.Annotations = large(10 << 20) }))
		a.refused("annotations of 10 MiB of a container", err)
	})
	_, err = a.tryPod(a.podConfig(quick, func(c *podConfig) { c.Annotations = map[string]string{"a\x00b": "x"} }))
	a.refused("annotation with a NUL", err)
}

// cve202143784 sets strings that do not fit in a netlink message of the runtime.
func cve202143784(a *attack) {
	long := strings.Repeat("x", 70<<10)
	_, err := a.tryPod(a.podConfig(func(c *podConfig) { c.Linux.CgroupParent = "/" + long }))
	a.refused("cgroup parent", err)
	_, err = a.tryPod(a.podConfig(func(c *podConfig) { c.Hostname = long }))
	a.refused("hostname", err)
	p := a.pod(quick)
	for name, change := range map[string]func(*containerConfig){
		"container path": func(c *containerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: "/tmp", ContainerPath: "/" + long}}
		},
		"host path": func(c *containerConfig) { c.Mounts = []*runtimeapi.Mount{{HostPath: "/" + long, ContainerPath: "/x"}} },
		"cpus": func(c *containerConfig) {
			c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpusetCpus: "0," + long}
		},
		"directory": func(c *containerConfig) { c.WorkingDir = "/" + long },
	} {
		_, err := p.create(p.container(image.Busybox, "true", change))
		a.refused(name, err)
	}
	mappings := make([]*runtimeapi.IDMapping, 5000)
	for i := range mappings {
		mappings[i] = &runtimeapi.IDMapping{HostId: uint32(1<<20 + i), ContainerId: uint32(i), Length: 1}
	}
	_, err = a.tryPod(a.podConfig(inUserNamespace, func(c *podConfig) {
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions.Uids = mappings
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions.Gids = mappings
	}))
	a.refused("5000 mappings", err)
}

// m02 shares namespaces of the host and of other pods, and sets wrong ID mappings.
func m02(a *attack) {
	onHost := func(c *podConfig) {
		quick(c)
		c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_NODE
	}
	p := a.pod(onHost)
	out := p.output(p.container(image.Busybox, "grep CapEff /proc/self/status; head -c1 /proc/kcore 2>/dev/null | wc -c; (echo 1 >/proc/sys/vm/swappiness) 2>/dev/null"))
	if !strings.HasPrefix(out, "CapEff:\t00000000a80425fb\n0\n") {
		a.Errorf("a container in namespaces of the host: %s", out)
	}
	target, other := a.pod(quick), a.pod(quick)
	id := target.sleeper()
	_, err := other.create(other.container(image.Busybox, "true", func(c *containerConfig) {
		c.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: id}
	}))
	a.refused("the PID namespace of a container of another pod", err)
	for name, m := range map[string]*runtimeapi.IDMapping{
		"no ids": {HostId: 1 << 20, Length: 0}, "root of the host": {HostId: 0, Length: 65536}, "wraps": {HostId: 1<<32 - 1, Length: 2},
		"too many": {HostId: 1 << 20, Length: 1<<32 - 1},
	} {
		config := a.podConfig(inUserNamespace, func(c *podConfig) {
			users := c.Linux.SecurityContext.NamespaceOptions.UsernsOptions
			users.Uids, users.Gids = []*runtimeapi.IDMapping{m}, []*runtimeapi.IDMapping{m}
		})
		_, err := a.tryPod(config)
		a.refused("mapping: "+name, err)
	}
}

// m05 asks for checkpoints.
func m05(a *attack) {
	id := a.pod(quick).sleeper()
	for _, location := range []string{a.host.Path("file"), "../../x", a.host.Path("dir", "new"), "relative"} {
		_, err := a.CheckpointContainer(a.ctx, &runtimeapi.CheckpointContainerRequest{ContainerId: id, Location: location})
		a.refused("checkpoint to "+location, err)
	}
}

// m09 asks for seccomp profiles, and checks the restrictions of the default one.
func m09(a *attack) {
	p := a.pod(quick)
	profile := func(kind runtimeapi.SecurityProfile_ProfileType, ref string) func(*containerConfig) {
		return func(c *containerConfig) {
			c.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
		}
	}
	fifo := filepath.Join(a.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		a.Fatal(err)
	}
	refs := []string{"", "relative.json", "/absent.json", "/../etc/passwd", "/etc", a.host.Path("file")}
	if a.Options.Daemon == harness.Stock {
		a.Errorf("a profile that is a FIFO or /dev/zero: not tried, because stock containerd would hang or use all of the node's memory")
	} else {
		refs = append(refs, "/dev/zero", fifo)
	}
	for _, ref := range refs {
		_, err := p.create(p.container(image.Busybox, "true", profile(runtimeapi.SecurityProfile_Localhost, ref)))
		a.refused(fmt.Sprintf("profile %q", ref), err)
		if err != nil {
			a.clean("the error", err.Error())
		}
	}
	out := p.output(p.container(image.Busybox, "grep Seccomp: /proc/self/status; unshare -U true 2>&1", profile(runtimeapi.SecurityProfile_RuntimeDefault, "")))
	if !strings.HasPrefix(out, "Seccomp:\t2\n") {
		a.Errorf("the default profile: %s", out)
	}
	id, err := p.create(p.container(image.Busybox, "true", profile(runtimeapi.SecurityProfile_RuntimeDefault, "")))
	if err != nil {
		a.Fatal(err)
	}
	if _, spec := a.stored(id); spec.Linux.Seccomp == nil || spec.Linux.Seccomp.DefaultAction != specs.ActErrno || !filtersSockets(spec.Linux.Seccomp) {
		a.Errorf("the default profile allows sockets of any domain: %+v", spec.Linux.Seccomp)
	}
}

// filtersSockets reports whether every rule that allows socket has a condition for the domain.
func filtersSockets(profile *specs.LinuxSeccomp) bool {
	for _, rule := range profile.Syscalls {
		if slices.Contains(rule.Names, "socket") && rule.Action == specs.ActAllow && len(rule.Args) == 0 {
			return false
		}
	}
	return true
}

// cve20232431 asks for a localhost profile without a name.
func cve20232431(a *attack) {
	p := a.pod(quick)
	empty := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost}
	_, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.Linux.SecurityContext.Seccomp = empty }))
	a.wantCode("seccomp", err, codes.InvalidArgument)
	_, err = a.tryPod(a.podConfig(quick, func(c *podConfig) { c.Linux.SecurityContext.Seccomp = empty }))
	a.wantCode("seccomp of a pod", err, codes.InvalidArgument)
	_, err = p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.Linux.SecurityContext.Apparmor = empty }))
	a.refused("AppArmor", err)
}

// m13 asks for invalid devices.
func m13(a *attack) {
	fifo := filepath.Join(a.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		a.Fatal(err)
	}
	p := a.pod(quick)
	for _, d := range []*runtimeapi.Device{
		{HostPath: "/dev/../etc/passwd", ContainerPath: "/dev/x", Permissions: "rwm"},
		{HostPath: a.host.Path("file"), ContainerPath: "/dev/x", Permissions: "rwm"},
		{HostPath: fifo, ContainerPath: "/dev/x", Permissions: "rwm"},
		{HostPath: "/dev/absent", ContainerPath: "/dev/x", Permissions: "rwm"},
		{HostPath: "/dev/null", ContainerPath: "/dev/x", Permissions: "rwx"},
		{HostPath: "/dev/null", ContainerPath: "x", Permissions: "r"},
	} {
		_, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.Devices = []*runtimeapi.Device{d} }))
		a.refused(d.String(), err)
	}
	for _, name := range []string{"evil.test/c=absent", "evil.test/c", "../../etc=x", ""} {
		_, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.CDIDevices = []*runtimeapi.CDIDevice{{Name: name}} }))
		a.refused("CDI device "+name, err)
	}
	_, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) {
		c.Annotations = map[string]string{"cdi.k8s.io/x": "evil.test/c=absent"}
	}))
	a.refused("CDI device by annotation", err)
}

// m14 asks for mounts with forbidden propagation and options.
func m14(a *attack) {
	p := a.pod(quick)
	loop := filepath.Join(a.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		a.Fatal(err)
	}
	for name, m := range map[string]*runtimeapi.Mount{
		"bidirectional":   {HostPath: "/tmp", ContainerPath: "/x", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
		"rro and slave":   {HostPath: "/tmp", ContainerPath: "/x", Readonly: true, RecursiveReadOnly: true, Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
		"link to itself":  {HostPath: loop, ContainerPath: "/x"},
		"mapped to root":  {HostPath: "/tmp", ContainerPath: "/x", UidMappings: []*runtimeapi.IDMapping{{Length: 65536}}, GidMappings: []*runtimeapi.IDMapping{{Length: 65536}}},
		"no path":         {HostPath: "/tmp"},
		"over everything": {HostPath: "/tmp", ContainerPath: "/"},
		"relative":        {HostPath: "tmp", ContainerPath: "/x"},
	} {
		_, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) { c.Mounts = []*runtimeapi.Mount{m} }))
		a.refused(name, err)
	}
}
