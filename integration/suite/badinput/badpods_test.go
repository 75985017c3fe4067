// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"fmt"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

type podConfig = runtimeapi.PodSandboxConfig

// badDescriptions have bad values in the name or the description of a pod.
func badDescriptions() []badPod {
	return []badPod{
		{"metadata missing", func(c *podConfig) { c.Metadata = nil }},
		{"metadata empty", func(c *podConfig) { c.Metadata = &runtimeapi.PodSandboxMetadata{} }},
		{"name with newline", func(c *podConfig) { c.Metadata.Name = "a\nb" }},
		{"namespace with NUL", func(c *podConfig) { c.Metadata.Namespace = "a\x00b" }},
		{"uid with a CNI argument", func(c *podConfig) { c.Metadata.Uid = "a;K8S_POD_NAME=other" }},
		{"hostname too long", func(c *podConfig) { c.Hostname = strings.Repeat("a", 65) }},
		{"hostname with newline", func(c *podConfig) { c.Hostname = "a\n127.0.0.1 example.org" }},
		{"hostname that is a path", func(c *podConfig) { c.Hostname = "../etc" }},
		{"hostname on the host network", func(c *podConfig) {
			c.Hostname = "own"
			c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
		}},
		{"log directory relative", func(c *podConfig) { c.LogDirectory = "logs" }},
		{"log directory with NUL", func(c *podConfig) { c.LogDirectory = "/var/log/\x00" }},
		{"label without key", func(c *podConfig) { c.Labels[""] = "a" }},
		{"label key with newline", func(c *podConfig) { c.Labels["a\nb"] = "c" }},
		{"label key too long", func(c *podConfig) { c.Labels[strings.Repeat("k", 5000)] = "a" }},
		{"label value too long", func(c *podConfig) { c.Labels["a"] = strings.Repeat("v", 5000) }},
		{"label value with NUL", func(c *podConfig) { c.Labels["a"] = "\x00" }},
		{"labels too many", func(c *podConfig) {
			for i := range 10000 {
				c.Labels[fmt.Sprint("label-", i)] = strings.Repeat("v", 100)
			}
		}},
		{"annotation without key", func(c *podConfig) { c.Annotations = map[string]string{"": "a"} }},
		{"annotation with NUL", func(c *podConfig) { c.Annotations = map[string]string{"a": "b\x00"} }},
		{"annotations of 10 MiB", func(c *podConfig) { c.Annotations = map[string]string{"a": strings.Repeat("v", 10<<20)} }},
		{"annotation of bandwidth", func(c *podConfig) { c.Annotations = map[string]string{"kubernetes.io/ingress-bandwidth": "fast"} }},
		{"annotation of bandwidth, negative", func(c *podConfig) {
			c.Annotations = map[string]string{"kubernetes.io/egress-bandwidth": "-1M"}
		}},
		{"annotation of an untrusted workload, without a handler for it", func(c *podConfig) {
			c.Annotations = map[string]string{"io.kubernetes.cri.untrusted-workload": "true"}
		}},
		{"windows", func(c *podConfig) { c.Windows = &runtimeapi.WindowsPodSandboxConfig{} }},
	}
}

// badNetworks have bad values in DNS, ports and sysctls.
func badNetworks() []badPod {
	dns := func(d *runtimeapi.DNSConfig) func(*podConfig) { return func(c *podConfig) { c.DnsConfig = d } }
	ports := func(list ...*runtimeapi.PortMapping) func(*podConfig) {
		return func(c *podConfig) { c.PortMappings = list }
	}
	sysctl := func(name, value string) func(*podConfig) {
		return func(c *podConfig) { c.Linux.Sysctls = map[string]string{name: value} }
	}
	return []badPod{
		{"dns server with newline", dns(&runtimeapi.DNSConfig{Servers: []string{"192.0.2.1\nnameserver 192.0.2.2"}})},
		{"dns search empty", dns(&runtimeapi.DNSConfig{Searches: []string{""}})},
		{"dns option of two words", dns(&runtimeapi.DNSConfig{Options: []string{"ndots:5 debug"}})},
		{"host port too large", ports(&runtimeapi.PortMapping{HostPort: 65536, ContainerPort: 80})},
		{"host port negative", ports(&runtimeapi.PortMapping{HostPort: -80, ContainerPort: 80})},
		{"container port too large", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 1 << 30})},
		{"container port missing", ports(&runtimeapi.PortMapping{HostPort: 80})},
		{"protocol unknown", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80, Protocol: 7})},
		{"host ip that is a name", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80, HostIp: "example.org"})},
		{"host port mapped twice", ports(
			&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80}, &runtimeapi.PortMapping{HostPort: 80, ContainerPort: 8080},
		)},
		{"sysctl of the node", sysctl("vm.swappiness", "1")},
		{"sysctl that is a path", sysctl("net/../vm/swappiness", "1")},
		{"sysctl that is a path of dots", sysctl("net....vm.swappiness", "1")},
		{"sysctl without name", sysctl("", "1")},
		{"sysctl with NUL", sysctl("net.ipv4.ip_forward\x00", "1")},
		{"sysctl value with newline", sysctl("net.ipv4.ip_forward", "1\n0")},
		{"sysctl in two spellings", func(c *podConfig) {
			c.Linux.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"}
		}},
		{"sysctl of the host's network", func(c *podConfig) {
			harness.OnHostNetwork(c)
			c.Linux.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		}},
		{"sysctl of the host's ipc", func(c *podConfig) {
			c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
			c.Linux.Sysctls = map[string]string{"kernel.shmmax": "1"}
		}},
	}
}

// badPodSecurity have bad values in cgroups, namespaces and security contexts.
func badPodSecurity() []badPod {
	cgroup := func(parent string) func(*podConfig) { return func(c *podConfig) { c.Linux.CgroupParent = parent } }
	modes := func(change func(*runtimeapi.NamespaceOption)) func(*podConfig) {
		return func(c *podConfig) { change(c.Linux.SecurityContext.NamespaceOptions) }
	}
	userns := func(uids ...*runtimeapi.IDMapping) func(*podConfig) {
		gids := []*runtimeapi.IDMapping{{HostId: 1 << 20, Length: 1 << 16}}
		return modes(func(o *runtimeapi.NamespaceOption) {
			o.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: uids, Gids: gids}
		})
	}
	security := func(change func(*runtimeapi.LinuxSandboxSecurityContext)) func(*podConfig) {
		return func(c *podConfig) { change(c.Linux.SecurityContext) }
	}
	return []badPod{
		{"cgroup parent with ..", cgroup("/k8s.io/../../system.slice")},
		{"cgroup parent with NUL", cgroup("/k8s.io/\x00")},
		{"cgroup parent of three parts", cgroup("system.slice:runc:pod")},
		{"cgroup parent too long", cgroup(strings.Repeat("/a", 4096))},
		{"cgroup parent with a nameless slice", cgroup("/kubepods.slice/.slice")},
		{"cgroup parent with an empty slice component", cgroup("kubepods--pod.slice")},
		{"network mode CONTAINER", modes(func(o *runtimeapi.NamespaceOption) { o.Network = runtimeapi.NamespaceMode_CONTAINER })},
		{"network mode unknown", modes(func(o *runtimeapi.NamespaceOption) { o.Network = 9 })},
		{"ipc mode TARGET", modes(func(o *runtimeapi.NamespaceOption) { o.Ipc = runtimeapi.NamespaceMode_TARGET })},
		{"pid mode TARGET", modes(func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_TARGET })},
		{"pid mode negative", modes(func(o *runtimeapi.NamespaceOption) { o.Pid = -1 })},
		{"userns mode", modes(func(o *runtimeapi.NamespaceOption) {
			o.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_CONTAINER}
		})},
		{"userns without mapping", userns()},
		{"userns of two mappings", userns(
			&runtimeapi.IDMapping{HostId: 1 << 20, Length: 1 << 16}, &runtimeapi.IDMapping{ContainerId: 1 << 16, HostId: 1 << 21, Length: 10},
		)},
		{"userns mappings that overlap", userns(
			&runtimeapi.IDMapping{HostId: 1 << 20, Length: 1 << 16}, &runtimeapi.IDMapping{ContainerId: 10, HostId: 1 << 21, Length: 10},
		)},
		{"userns without length", userns(&runtimeapi.IDMapping{HostId: 1 << 20})},
		{"userns that overflows", userns(&runtimeapi.IDMapping{HostId: 1<<32 - 1, Length: 1 << 16})},
		{"userns with the host's root", userns(&runtimeapi.IDMapping{Length: 1 << 16})},
		{"userns without root", userns(&runtimeapi.IDMapping{ContainerId: 1, HostId: 1 << 20, Length: 1 << 16})},
		{"user negative", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) { sc.RunAsUser = &runtimeapi.Int64Value{Value: -1} })},
		{"user too large", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) {
			sc.RunAsUser = &runtimeapi.Int64Value{Value: 1 << 40}
		})},
		{"group without user", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) { sc.RunAsGroup = &runtimeapi.Int64Value{Value: 1} })},
		{"groups negative", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) { sc.SupplementalGroups = []int64{1, -1} })},
		{"groups policy unknown", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) { sc.SupplementalGroupsPolicy = 9 })},
		{"seccomp unknown", security(func(sc *runtimeapi.LinuxSandboxSecurityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: 9}
		})},
		{"resources negative", func(c *podConfig) { c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: -2} }},
		{"overhead negative", func(c *podConfig) { c.Linux.Overhead = &runtimeapi.LinuxContainerResources{CpuShares: -2} }},
	}
}
