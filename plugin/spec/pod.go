// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// checkPodFields checks all fields of a pod config, also those that this runtime does not use.
func checkPodFields(config *runtimeapi.PodSandboxConfig) error {
	if config.GetWindows() != nil {
		return invalid("windows", "this runtime serves Linux pods only")
	}
	return errors.Join(
		checkHostname(config.GetHostname()),
		checkOwnHostname(config),
		checkLogDirectory(config.GetLogDirectory()),
		checkLabelsAndAnnotations(config),
		checkDNS(config.GetDnsConfig()),
		checkPorts(config.GetPortMappings()),
		checkLinuxPod(config.GetLinux()),
	)
}

func checkLinuxPod(linux *runtimeapi.LinuxPodSandboxConfig) error {
	sc := linux.GetSecurityContext()
	errs := []error{
		checkCgroupParent(linux.GetCgroupParent()),
		checkPodNamespaces(sc.GetNamespaceOptions()),
		checkPodUser(sc),
		checkPodProfiles(sc),
		CheckPodResources(linux.GetOverhead(), linux.GetResources()),
	}
	for _, name := range slices.Sorted(maps.Keys(linux.GetSysctls())) {
		errs = append(errs, checkText("linux.sysctls", name), checkText("linux.sysctls["+name+"]", linux.GetSysctls()[name]))
	}
	return errors.Join(errs...)
}

// CheckPodResources checks the limits of a pod. It assumes that the machine has all controllers,
// because the kubelet sets these limits, not this runtime.
func CheckPodResources(overhead, resources *runtimeapi.LinuxContainerResources) error {
	allFacts := Facts{CgroupV2: true, SwapController: true, Hugetlb: true}
	if _, err := Resources(nil, overhead, allFacts, Options{}); err != nil {
		return fmt.Errorf("overhead: %w", err)
	}
	if _, err := Resources(nil, resources, allFacts, Options{}); err != nil {
		return fmt.Errorf("pod resources: %w", err)
	}
	return nil
}

func checkLogDirectory(dir string) error {
	if dir == "" {
		return nil // the pod has no logs
	}
	_, err := checkPath("log_directory", dir)
	return err
}

// checkDNS accepts single words, so that no value can add a line to resolv.conf(5). It does not
// check the addresses of servers, because the kubelet passes on the contents of the node's own
// resolv.conf.
func checkDNS(dns *runtimeapi.DNSConfig) error {
	return errors.Join(
		checkWords("dns_config.servers", dns.GetServers()),
		checkWords("dns_config.searches", dns.GetSearches()),
		checkWords("dns_config.options", dns.GetOptions()),
	)
}

func checkWords(field string, words []string) error {
	for i, w := range words {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "%q is empty or has a space or control character", w)
		}
	}
	return nil
}

// hostPort identifies a port of the host, which maps to one container port only.
type hostPort struct {
	protocol runtimeapi.Protocol
	ip       string
	port     int32
}

// checkPorts refuses invalid ports, and a host port that is mapped to two container ports. It
// allows equal mappings.
func checkPorts(mappings []*runtimeapi.PortMapping) error {
	taken := make(map[hostPort]int32)
	for i, m := range mappings {
		field := fmt.Sprintf("port_mappings[%d]", i)
		if err := checkPort(field, m); err != nil {
			return err
		}
		if m.GetHostPort() == 0 {
			continue // not mapped
		}
		at := hostPort{m.GetProtocol(), m.GetHostIp(), m.GetHostPort()}
		if other, ok := taken[at]; ok && other != m.GetContainerPort() {
			return invalid(field, "host port %d is already mapped to container port %d", m.GetHostPort(), other)
		}
		taken[at] = m.GetContainerPort()
	}
	return nil
}

func checkPort(field string, m *runtimeapi.PortMapping) error {
	host, container := m.GetHostPort(), m.GetContainerPort()
	if host < 0 || host > math.MaxUint16 {
		return invalid(field+".host_port", "%d is not a port", host)
	}
	if container < 0 || container > math.MaxUint16 || container == 0 && host != 0 {
		return invalid(field+".container_port", "%d is not a port", container)
	}
	if _, known := runtimeapi.Protocol_name[int32(m.GetProtocol())]; !known {
		return invalid(field+".protocol", "%d is unknown", m.GetProtocol())
	}
	if ip := m.GetHostIp(); ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return invalid(field+".host_ip", "%q is not an IP address", ip)
		}
	}
	return nil
}

// checkPodUser checks the ids for a process of the pod itself.
func checkPodUser(sc *runtimeapi.LinuxSandboxSecurityContext) error {
	const field = "linux.security_context."
	if sc.GetRunAsGroup() != nil && sc.GetRunAsUser() == nil {
		return invalid(field+"run_as_group", "needs run_as_user")
	}
	return errors.Join(
		checkID(field+"run_as_user", sc.GetRunAsUser().GetValue()),
		checkID(field+"run_as_group", sc.GetRunAsGroup().GetValue()),
		checkIDs(field+"supplemental_groups", sc.GetSupplementalGroups()),
		checkGroupsPolicy(sc.GetSupplementalGroupsPolicy()),
	)
}

// checkPodProfiles checks the profiles for a process of the pod itself.
func checkPodProfiles(sc *runtimeapi.LinuxSandboxSecurityContext) error {
	var errs []error
	if p := sc.GetSeccomp(); p != nil {
		_, err := profile("linux.security_context.seccomp", p)
		errs = append(errs, err)
	}
	if p := sc.GetApparmor(); p != nil {
		_, err := profile("linux.security_context.apparmor", p)
		errs = append(errs, err)
	}
	if old := sc.GetSeccompProfilePath(); old != "" { //nolint:staticcheck // deprecated, but clients still send it
		_, err := legacyProfile("linux.security_context.seccomp_profile_path", old)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
