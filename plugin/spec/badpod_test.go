// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// badPod is a change to the fixture's pod that CheckPod must refuse, and the field that the error
// must name.
type badPod struct {
	name   string
	field  string
	change func(*runtimeapi.PodSandboxConfig)
}

func badPods() []badPod {
	labels := func(key, value string) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { c.Labels = map[string]string{key: value} }
	}
	annotations := func(key, value string) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { c.Annotations = map[string]string{key: value} }
	}
	ports := func(mappings ...*runtimeapi.PortMapping) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { c.PortMappings = mappings }
	}
	return []badPod{
		{"name that parts CNI arguments", "metadata.name", func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = "a;K8S_POD_UID=b" }},
		{"log directory relative", "log_directory", func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = "var/log" }},
		{"log directory with NUL", "log_directory", func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = "/a\x00" }},
		{"label without key", "labels", labels("", "x")},
		{"label key with newline", "labels", labels("a\nb", "x")},
		{"label value with newline", "labels[a]", labels("a", "x\ny")},
		{"label too long for containerd", "labels", labels("a", strings.Repeat("x", 4096))},
		{"annotation without key", "annotations", annotations("", "x")},
		{"annotation key with NUL", "annotations", annotations("a\x00", "x")},
		{"annotation value with NUL", "annotations", annotations("a", "x\x00")},
		{"annotations too long", "annotations", annotations("a", strings.Repeat("x", maxMapBytes))},
		{"config too long", "config", annotations("a", strings.Repeat("x", maxConfig))},
		{"many labels", "labels", func(c *runtimeapi.PodSandboxConfig) {
			c.Labels = make(map[string]string)
			for i := range maxMapBytes / 1000 {
				c.Labels[fmt.Sprint(i)] = strings.Repeat("x", 1000)
			}
		}},
		{"DNS server", "dns_config.servers[0]", func(c *runtimeapi.PodSandboxConfig) {
			c.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1\nnameserver 192.0.2.2"}}
		}},
		{"DNS search", "dns_config.searches[1]", func(c *runtimeapi.PodSandboxConfig) {
			c.DnsConfig = &runtimeapi.DNSConfig{Searches: []string{"a", ""}}
		}},
		{"DNS option", "dns_config.options[0]", func(c *runtimeapi.PodSandboxConfig) {
			c.DnsConfig = &runtimeapi.DNSConfig{Options: []string{"ndots: 5"}}
		}},
		{"host port", "port_mappings[0].host_port", ports(&runtimeapi.PortMapping{HostPort: 65536, ContainerPort: 80})},
		{"host port negative", "port_mappings[0].host_port", ports(&runtimeapi.PortMapping{HostPort: -1, ContainerPort: 80})},
		{"container port", "port_mappings[0].container_port", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 65536})},
		{"container port zero", "port_mappings[0].container_port", ports(&runtimeapi.PortMapping{HostPort: 80})},
		{"protocol", "port_mappings[0].protocol", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80, Protocol: 9})},
		{"host ip", "port_mappings[0].host_ip", ports(&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80, HostIp: "localhost"})},
		{"host port twice", "port_mappings[1]", ports(
			&runtimeapi.PortMapping{HostPort: 80, ContainerPort: 80}, &runtimeapi.PortMapping{HostPort: 80, ContainerPort: 81},
		)},
	}
}

func badLinuxPods() []badPod {
	linux := func(change func(*runtimeapi.LinuxPodSandboxConfig)) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { change(c.Linux) }
	}
	security := func(sc *runtimeapi.LinuxSandboxSecurityContext) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext = sc }
	}
	return []badPod{
		{"slice without name", "linux.cgroup_parent", linux(func(l *runtimeapi.LinuxPodSandboxConfig) { l.CgroupParent = "/a.slice/.slice" })},
		{"slice without parent", "linux.cgroup_parent", linux(func(l *runtimeapi.LinuxPodSandboxConfig) { l.CgroupParent = "a--b.slice" })},
		{"sysctl name", "linux.sysctls", linux(func(l *runtimeapi.LinuxPodSandboxConfig) { l.Sysctls = map[string]string{"net.a\n": "1"} })},
		{"sysctl value", "linux.sysctls[net.a]", linux(func(l *runtimeapi.LinuxPodSandboxConfig) { l.Sysctls = map[string]string{"net.a": "1\n"} })},
		{"overhead", "overhead: linux.resources.memory_limit_in_bytes", linux(func(l *runtimeapi.LinuxPodSandboxConfig) {
			l.Overhead = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: -2}
		})},
		{"resources", "pod resources: linux.resources.cpu_quota", linux(func(l *runtimeapi.LinuxPodSandboxConfig) {
			l.Resources = &runtimeapi.LinuxContainerResources{CpuQuota: 999}
		})},
		{"group alone", "run_as_group", security(&runtimeapi.LinuxSandboxSecurityContext{RunAsGroup: &runtimeapi.Int64Value{Value: 1}})},
		{"user negative", "run_as_user", security(&runtimeapi.LinuxSandboxSecurityContext{RunAsUser: &runtimeapi.Int64Value{Value: -1}})},
		{"user too large", "run_as_user", security(&runtimeapi.LinuxSandboxSecurityContext{RunAsUser: &runtimeapi.Int64Value{Value: 1 << 32}})},
		{"groups", "supplemental_groups[0]", security(&runtimeapi.LinuxSandboxSecurityContext{SupplementalGroups: []int64{-1}})},
		{"groups policy", "supplemental_groups_policy", security(&runtimeapi.LinuxSandboxSecurityContext{SupplementalGroupsPolicy: 9})},
		{"seccomp", "seccomp.profile_type", security(&runtimeapi.LinuxSandboxSecurityContext{Seccomp: &runtimeapi.SecurityProfile{ProfileType: 9}})},
		{"seccomp, old", "seccomp_profile_path", security(&runtimeapi.LinuxSandboxSecurityContext{
			SeccompProfilePath: "strict", //nolint:staticcheck // deprecated, but clients still send it
		})},
		{"apparmor", "apparmor.localhost_ref", security(&runtimeapi.LinuxSandboxSecurityContext{
			Apparmor: &runtimeapi.SecurityProfile{ProfileType: localhost},
		})},
	}
}

func TestCheckPodInvalid(t *testing.T) {
	for _, c := range append(badPods(), badLinuxPods()...) {
		t.Run(c.name, func(t *testing.T) {
			config := fixture().Pod.Config
			c.change(config)
			err := CheckPod(config)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.field+":") {
				t.Errorf("error %.300v, want class InvalidArgument naming %s", err, c.field)
			}
		})
	}
}

// TestCheckPod uses unusual but valid values.
func TestCheckPod(t *testing.T) {
	config := fixture().Pod.Config
	config.Annotations = map[string]string{"lines": "a\nb\ttab", "long": strings.Repeat("x", 256<<10)}
	config.Labels = map[string]string{"empty": "", "long": strings.Repeat("x", 4000)}
	config.LogDirectory = ""
	config.PortMappings = []*runtimeapi.PortMapping{
		{ContainerPort: 0}, {HostPort: 80, ContainerPort: 80}, {HostPort: 80, ContainerPort: 80},
		{HostPort: 80, ContainerPort: 81, Protocol: runtimeapi.Protocol_UDP}, {HostPort: 80, ContainerPort: 82, HostIp: "::1"},
	}
	config.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"fe80::1%eth0"}, Searches: []string{"."}, Options: []string{"ndots:5"}}
	for _, parent := range []string{"", "/", "kubepods", "/kubepods/pod1", "/-.slice", "/kubepods.slice/kubepods-pod1_2.slice"} {
		config.Linux.CgroupParent = parent
		if err := CheckPod(config); err != nil {
			t.Errorf("cgroup parent %q: %v", parent, err)
		}
	}
}
