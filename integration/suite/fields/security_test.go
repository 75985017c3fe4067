// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

type containerSecurity = runtimeapi.LinuxContainerSecurityContext

// secured changes the security context of a container.
func secured(change func(*containerSecurity)) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { change(c.Linux.SecurityContext) }
}

func number(n int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: n} }

func users(t *testing.T, b bench) {
	p := b.pod(t, "users", nil)
	id := p.run(t, "numbers", secured(func(sc *containerSecurity) {
		sc.RunAsUser, sc.RunAsGroup, sc.SupplementalGroups = number(1234), number(55), []int64{77, 66}
	}))
	equal(t, "id", b.sh(t, id, "id -u; id -g; id -G"), "1234\n55\n55 66 77")
	want := &runtimeapi.LinuxContainerUser{Uid: 1234, Gid: 55, SupplementalGroups: []int64{55, 66, 77}}
	if diff := cmp.Diff(want, b.status(t, id).User.GetLinux(), protocmp.Transform()); diff != "" {
		t.Errorf("user in the status (-want +got):\n%s", diff)
	}
	id = p.run(t, "name", secured(func(sc *containerSecurity) { sc.RunAsUsername = "www-data" }))
	equal(t, "id by name", b.sh(t, id, "id -u; id -g; id -G"), "33\n33\n33")
	id = p.run(t, "strict", secured(func(sc *containerSecurity) {
		sc.RunAsUser, sc.SupplementalGroups = number(33), []int64{88}
		sc.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
	}))
	equal(t, "groups with policy Strict", b.sh(t, id, "id -G"), "33 88")

	_, err := p.create(t, "group", secured(func(sc *containerSecurity) { sc.RunAsGroup = number(1) }))
	equal(t, "code for a group without a user", status.Code(err), codes.InvalidArgument)
}

// privileges checks the attributes of a process in /proc.
func privileges(t *testing.T, b bench) {
	p := b.pod(t, "privileges", nil)
	processStatus := func(id, field string) string {
		return strings.TrimSpace(strings.TrimPrefix(b.sh(t, id, "grep ^"+field+": /proc/1/status"), field+":"))
	}
	id := p.run(t, "caps", secured(func(sc *containerSecurity) {
		sc.RunAsUser = number(1000)
		sc.Capabilities = &runtimeapi.Capability{
			DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_ADMIN"}, AddAmbientCapabilities: []string{"NET_BIND_SERVICE"},
		}
	}))
	const bind, admin = 1 << 10, 1 << 12
	for field, want := range map[string]uint64{"CapBnd": bind | admin, "CapAmb": bind, "CapInh": bind, "CapEff": bind} {
		got, err := strconv.ParseUint(processStatus(id, field), 16, 64)
		if err != nil || got != want {
			t.Errorf("%s: got %#x (%v), want %#x", field, got, err, want)
		}
	}
	equal(t, "no_new_privs by default", processStatus(id, "NoNewPrivs"), "0")

	id = p.run(t, "locked", secured(func(sc *containerSecurity) {
		sc.NoNewPrivs, sc.ReadonlyRootfs = true, true
		sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/version", "/sys/firmware"}, []string{"/proc/sys"}
	}))
	equal(t, "no_new_privs", processStatus(id, "NoNewPrivs"), "1")
	equal(t, "seccomp mode", processStatus(id, "Seccomp"), "2")
	contains(t, "write to the root", b.sh(t, id, "echo > /new || true"), "Read-only file system")
	equal(t, "masked path", b.sh(t, id, "cat /proc/version"), "")
	contains(t, "read-only path", b.sh(t, id, "echo 1 > /proc/sys/net/ipv4/ip_forward || true"), "Read-only file system")

	_, err := p.create(t, "privileged", secured(func(sc *containerSecurity) { sc.Privileged = true }))
	equal(t, "code for a privileged container in a plain pod", status.Code(err), codes.InvalidArgument)
	_, err = p.create(t, "apparmor", secured(func(sc *containerSecurity) {
		sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "no-such-profile"}
	}))
	if code := status.Code(err); code != codes.FailedPrecondition && code != codes.NotFound {
		t.Errorf("missing AppArmor profile: %v", err)
	}
	p = b.pod(t, "privileged", func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	id = p.run(t, "privileged", secured(func(sc *containerSecurity) { sc.Privileged = true }))
	equal(t, "seccomp mode of a privileged container", processStatus(id, "Seccomp"), "0")
	contains(t, "/sys of a privileged container", b.sh(t, id, "grep ' /sys sysfs ' /proc/self/mounts"), " rw,")
	contains(t, "devices of a privileged container", b.sh(t, id, "ls /dev"), "kmsg")
}

// withModes sets the namespace modes of a pod. Its containers have the same unless they set others.
func withModes(change func(*runtimeapi.NamespaceOption)) func(*runtimeapi.PodSandboxConfig) {
	return func(c *runtimeapi.PodSandboxConfig) { change(c.Linux.SecurityContext.NamespaceOptions) }
}

func pidNamespaces(t *testing.T, b bench) {
	first := func(id string) string { return b.sh(t, id, "cat /proc/1/comm") }
	p := b.pod(t, "pid-container", nil)
	own := p.run(t, "own", nil)
	equal(t, "first process, mode CONTAINER", first(own), "sleep")
	debug := p.run(t, "debug", secured(func(sc *containerSecurity) {
		sc.NamespaceOptions = &runtimeapi.NamespaceOption{
			Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_TARGET, TargetId: own,
		}
	}))
	equal(t, "namespace, mode TARGET", b.sh(t, debug, "readlink /proc/self/ns/pid"), b.sh(t, own, "readlink /proc/self/ns/pid"))
	_, err := p.create(t, "node", secured(func(sc *containerSecurity) {
		sc.NamespaceOptions = &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_NODE}
	}))
	equal(t, "code for NODE in a pod with its own", status.Code(err), codes.InvalidArgument)

	p = b.pod(t, "pid-pod", withModes(func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_POD }))
	one, two := p.run(t, "one", nil), p.run(t, "two", nil)
	equal(t, "namespace, mode POD", b.sh(t, one, "readlink /proc/self/ns/pid"), b.sh(t, two, "readlink /proc/self/ns/pid"))
	if first(one) == "sleep" {
		t.Error("PID 1 of the pod belongs to a container")
	}

	p = b.pod(t, "pid-node", withModes(func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_NODE }))
	equal(t, "namespace, mode NODE", b.sh(t, p.run(t, "main", nil), "readlink /proc/self/ns/pid"), hostNamespace(t, "pid"))
}

func hostNamespace(t *testing.T, kind string) string {
	t.Helper()
	name, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func hostNamespaces(t *testing.T, b bench) {
	p := b.pod(t, "host", withModes(func(o *runtimeapi.NamespaceOption) { o.Ipc = runtimeapi.NamespaceMode_NODE }))
	id := p.run(t, "main", nil)
	for _, kind := range []string{"net", "ipc", "uts"} {
		equal(t, kind+" namespace of a host pod", b.sh(t, id, "readlink /proc/self/ns/"+kind), hostNamespace(t, kind))
	}
	p = b.pod(t, "own", withModes(func(o *runtimeapi.NamespaceOption) { o.Network = runtimeapi.NamespaceMode_POD }))
	p.config.Hostname = "own"
	id = p.run(t, "main", nil)
	for _, kind := range []string{"net", "ipc", "uts"} {
		if b.sh(t, id, "readlink /proc/self/ns/"+kind) == hostNamespace(t, kind) {
			t.Errorf("the pod has the host's %s namespace", kind)
		}
	}
}

func sysctls(t *testing.T, b bench) {
	p := b.pod(t, "sysctls", func(c *runtimeapi.PodSandboxConfig) {
		c.Hostname = "sysctls"
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_POD
		c.Linux.Sysctls = map[string]string{
			"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "1024 60000", "net.ipv4.conf.eth0.arp_announce": "1",
		}
	})
	id := p.run(t, "main", nil)
	equal(t, "sysctls", b.sh(t, id, "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range"), "1\n1024\t60000")
	equal(t, "sysctl of an interface", b.sh(t, id, "cat /proc/sys/net/ipv4/conf/eth0/arp_announce"), "1")

	for name, c := range map[string]struct {
		network runtimeapi.NamespaceMode
		sysctl  string
	}{
		"of the host network":    {runtimeapi.NamespaceMode_NODE, "net.ipv4.ip_forward"},
		"of the kernel":          {runtimeapi.NamespaceMode_POD, "vm.swappiness"},
		"upwards":                {runtimeapi.NamespaceMode_POD, "net/../vm/swappiness"},
		"of a missing interface": {runtimeapi.NamespaceMode_POD, "net.ipv4.conf.eth7.arp_announce"},
		"unknown":                {runtimeapi.NamespaceMode_POD, "net.ipv4.no_such"},
	} {
		config := b.PodConfig("bad-sysctl")
		if c.network == runtimeapi.NamespaceMode_NODE {
			harness.OnHostNetwork(config)
		}
		config.Linux.Sysctls = map[string]string{c.sysctl: "1"}
		id, err := b.RunPod(t.Context(), config)
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("a sysctl %s: %v", name, err)
		}
		if err == nil {
			_ = b.RemovePod(harness.After(t), id)
		}
	}
}

// withUserNS puts a pod into a user namespace.
func withUserNS(network runtimeapi.NamespaceMode) (func(*runtimeapi.PodSandboxConfig), []*runtimeapi.IDMapping) {
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, ContainerId: 0, Length: 65536}}
	return withModes(func(o *runtimeapi.NamespaceOption) {
		o.Network = network
		o.UsernsOptions = &runtimeapi.UserNamespace{Uids: ids, Gids: ids}
	}), ids
}

func userNamespace(t *testing.T, b bench) {
	change, ids := withUserNS(runtimeapi.NamespaceMode_POD)
	p := b.pod(t, "userns", change)
	shared := b.Path("shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	id := p.run(t, "main", withMounts(
		&runtimeapi.Mount{HostPath: shared, ContainerPath: "/mapped", UidMappings: ids, GidMappings: ids},
		&runtimeapi.Mount{HostPath: shared, ContainerPath: "/unmapped"},
	))
	equal(t, "uid_map", strings.Join(strings.Fields(b.sh(t, id, "cat /proc/self/uid_map")), " "), "0 1048576 65536")
	equal(t, "owner of an id-mapped mount", b.sh(t, id, "stat -c %u:%g /mapped"), "0:0")
	equal(t, "owner of a mount without mapping", b.sh(t, id, "stat -c %u:%g /unmapped"), "65534:65534")
	equal(t, "owner of the root file system", b.sh(t, id, "stat -c %u:%g /bin"), "0:0")
	b.sh(t, id, "echo > /mapped/file && chown 7:8 /mapped/file")
	for _, m := range b.status(t, id).Mounts {
		if want := m.ContainerPath == "/mapped"; (len(m.UidMappings) > 0) != want {
			t.Errorf("mappings of %s in the status: %v", m.ContainerPath, m.UidMappings)
		}
	}
	equal(t, "owner of a file that the container wrote", b.sh(t, id, "stat -c %u:%g /mapped/file"), "7:8")
	modes := b.podModes(t, p.id)
	equal(t, "mapping in the status of the pod", modes.GetUsernsOptions().GetUids()[0].GetHostId(), 1<<20)

	other := []*runtimeapi.IDMapping{{HostId: 5, ContainerId: 0, Length: 10}}
	_, err := p.create(t, "others", withMounts(
		&runtimeapi.Mount{HostPath: shared, ContainerPath: "/mapped", UidMappings: other, GidMappings: other}))
	equal(t, "code for another mapping", status.Code(err), codes.InvalidArgument)
}

func (b bench) podModes(t *testing.T, pod string) *runtimeapi.NamespaceOption {
	t.Helper()
	answer, err := b.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.GetLinux().GetNamespaces().GetOptions()
}

// userNamespaceHostNetwork: sysfs belongs to the network namespace, which is the host's, so the
// container sees the host's /sys and cannot write to it.
func userNamespaceHostNetwork(t *testing.T, b bench) {
	change, _ := withUserNS(runtimeapi.NamespaceMode_NODE)
	p := b.pod(t, "userns-host", change)
	id := p.run(t, "main", nil)
	equal(t, "network namespace", b.sh(t, id, "readlink /proc/self/ns/net"), hostNamespace(t, "net"))
	contains(t, "uid_map", b.sh(t, id, "cat /proc/self/uid_map"), "1048576")
	mounts := b.sh(t, id, "grep ' /sys sysfs ' /proc/self/mounts")
	for line := range strings.Lines(mounts) {
		options := strings.Fields(line)[3]
		if !strings.HasPrefix(options, "ro,") {
			t.Errorf("writable: %s", line)
		}
	}
	contains(t, "write to /sys", b.sh(t, id, "echo 1 > /sys/kernel/profiling || true"), "Read-only file system")
}
