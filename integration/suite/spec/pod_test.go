// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const handlerTuned = harness.HandlerTuned

// podCases are about the pod's config and its effect on the containers.
func podCases() []podCase {
	plain := []containerCase{{name: "plain"}}
	dns := &runtimeapi.DNSConfig{
		Servers: []string{"10.0.0.10", "fd00::10"}, Searches: []string{"default.svc.cluster.local", "cluster.local"},
		Options: []string{"ndots:5", "edns0"},
	}
	passed := func(c *runtimeapi.ContainerConfig) {
		c.Annotations = map[string]string{"bench.container/a": "b", "bench.pod/a": "wrong list", "other": "kept out"}
	}
	return []podCase{
		{name: "hostname", change: func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "web-0" }, containers: plain},
		{name: "no hostname", change: func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "" }, containers: plain},
		{name: "hostname on the host's network", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions.Network = modeNode
			c.Hostname = "web-0"
		}, containers: plain},
		{name: "dns", change: func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = dns }, containers: plain},
		{name: "dns, empty", change: func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = &runtimeapi.DNSConfig{} }, containers: plain},
		{name: "sysctls", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.Sysctls = map[string]string{
				"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "20000 30000",
				"net.ipv4.ip_unprivileged_port_start": "100", "fs.mqueue.msg_max": "20",
			}
		}, containers: plain},
		{name: "sysctls with slashes", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.Sysctls = map[string]string{"net/core/somaxconn": "77", "kernel/msgmax": "4096"}
		}, containers: plain},
		{name: "no cgroup parent", change: func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = "" }, containers: plain},
		{name: "deep cgroup parent", change: func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = "/k8s.io/burstable/pod-x" }, containers: plain},
		{name: "cgroup parent of systemd", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.CgroupParent = "/kubepods.slice/kubepods-pod1.slice"
		}, containers: plain},
		{name: "no linux", change: func(c *runtimeapi.PodSandboxConfig) { c.Linux = nil }, containers: []containerCase{
			{name: "plain"},
			{name: "no linux", change: func(c *runtimeapi.ContainerConfig) { c.Linux = nil }},
		}},
		{name: "no log directory", change: func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = "" }, containers: plain},
		{name: "long names", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Metadata.Name, c.Metadata.Namespace = strings.Repeat("n", 253), strings.Repeat("s", 63)
			c.Metadata.Attempt = 7
		}, containers: plain},
		{name: "annotations", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Annotations = map[string]string{"bench.pod/a": "b", "other": "kept out"}
		}, containers: []containerCase{{name: "not passed on", change: passed}}},
		{name: "annotations, tuned handler", handler: handlerTuned, change: func(c *runtimeapi.PodSandboxConfig) {
			c.Annotations = map[string]string{"bench.pod/a": "b", "bench.pod/deep/c": "d", "bench.container/a": "wrong list", "other": "kept out"}
		}, containers: []containerCase{{name: "passed on", change: passed}}},
		{name: "overhead and resources", change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.Overhead = &runtimeapi.LinuxContainerResources{CpuShares: 100, MemoryLimitInBytes: 1 << 20}
			c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 1000, MemoryLimitInBytes: 1 << 30}
		}, containers: plain},
		{name: "stock runtime", handler: harness.HandlerRunc, containers: plain},
	}
}
