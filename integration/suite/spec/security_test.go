// SPDX-License-Identifier: Apache-2.0

package spec

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type securityContext = runtimeapi.LinuxContainerSecurityContext

// securityCases are about security contexts, except namespaces.
func securityCases(f fixture) []podCase {
	privileged := func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true }
	return []podCase{
		{name: "security", containers: append(append(capabilityCases(), userCases()...), profileCases(f)...)},
		{name: "privileged", change: privileged, containers: []containerCase{
			{name: "plain"},
			{name: "privileged", change: secure(func(sc *securityContext) { sc.Privileged = true })},
			{name: "privileged with less", change: secure(func(sc *securityContext) {
				sc.Privileged = true
				sc.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}}
				sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
				sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/keys"}, []string{"/proc/sys"}
			})},
			{name: "privileged user", change: secure(func(sc *securityContext) {
				sc.Privileged, sc.RunAsUser = true, &runtimeapi.Int64Value{Value: 1000}
			})},
			{name: "privileged with read-only root", change: secure(func(sc *securityContext) {
				sc.Privileged, sc.ReadonlyRootfs = true, true
			})},
		}},
		{name: "privileged, tuned handler", handler: handlerTuned, change: privileged, containers: []containerCase{
			{name: "privileged", change: secure(func(sc *securityContext) { sc.Privileged = true })},
		}},
	}
}

func secure(change func(*securityContext)) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { change(c.Linux.SecurityContext) }
}

func capabilityCases() []containerCase {
	with := func(add, drop, ambient []string) func(*runtimeapi.ContainerConfig) {
		return secure(func(sc *securityContext) {
			sc.Capabilities = &runtimeapi.Capability{AddCapabilities: add, DropCapabilities: drop, AddAmbientCapabilities: ambient}
		})
	}
	return []containerCase{
		{name: "capabilities added", change: with([]string{"NET_ADMIN", "SYS_TIME"}, nil, nil)},
		{name: "capabilities dropped", change: with(nil, []string{"CHOWN", "KILL"}, nil)},
		{name: "capabilities all added", change: with([]string{"ALL"}, nil, nil)},
		{name: "capabilities all added but one", change: with([]string{"ALL"}, []string{"SYS_ADMIN"}, nil)},
		{name: "capabilities all dropped", change: with(nil, []string{"ALL"}, nil)},
		{name: "capabilities all dropped but one", change: with([]string{"NET_BIND_SERVICE"}, []string{"ALL"}, nil)},
		{name: "capability added and dropped", change: with([]string{"NET_ADMIN"}, []string{"NET_ADMIN"}, nil)},
		{name: "capabilities in other spelling", change: with([]string{"CAP_NET_ADMIN", "sys_time"}, []string{"cap_chown"}, nil)},
		{name: "capabilities ambient", change: with(nil, nil, []string{"NET_BIND_SERVICE"})},
		{name: "privileged in a plain pod", change: secure(func(sc *securityContext) { sc.Privileged = true })},
		{name: "read-only root", change: secure(func(sc *securityContext) { sc.ReadonlyRootfs = true })},
		{name: "no new privileges", change: secure(func(sc *securityContext) { sc.NoNewPrivs = true })},
	}
}

func userCases() []containerCase {
	id := func(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }
	strict := runtimeapi.SupplementalGroupsPolicy_Strict
	return []containerCase{
		{name: "user", change: secure(func(sc *securityContext) { sc.RunAsUser = id(1000) })},
		{name: "user and group", change: secure(func(sc *securityContext) { sc.RunAsUser, sc.RunAsGroup = id(1000), id(2000) })},
		{name: "user zero over image", image: dressed, change: secure(func(sc *securityContext) { sc.RunAsUser = id(0) })},
		{name: "user over image", image: dressed, change: secure(func(sc *securityContext) { sc.RunAsUser = id(1010) })},
		{name: "user by name", change: secure(func(sc *securityContext) { sc.RunAsUsername = "www-data" })},
		{name: "user by name, and group", change: secure(func(sc *securityContext) { sc.RunAsUsername, sc.RunAsGroup = "www-data", id(5) })},
		{name: "supplemental groups", change: secure(func(sc *securityContext) {
			sc.RunAsUser, sc.SupplementalGroups = id(1000), []int64{3000, 1234, 3000}
		})},
		{name: "groups of the image", image: grouped, change: secure(func(sc *securityContext) { sc.SupplementalGroups = []int64{1234} })},
		{name: "groups strict", image: grouped, change: secure(func(sc *securityContext) {
			sc.SupplementalGroups, sc.SupplementalGroupsPolicy = []int64{1234}, strict
		})},
		{name: "groups strict and none", image: grouped, change: secure(func(sc *securityContext) { sc.SupplementalGroupsPolicy = strict })},
	}
}

func profileCases(f fixture) []containerCase {
	seccomp := func(kind runtimeapi.SecurityProfile_ProfileType, ref string) func(*runtimeapi.ContainerConfig) {
		return secure(func(sc *securityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
		})
	}
	old := func(path string) func(*runtimeapi.ContainerConfig) {
		return secure(func(sc *securityContext) {
			sc.SeccompProfilePath = path //nolint:staticcheck // deprecated, but clients still send it
		})
	}
	return []containerCase{
		{name: "seccomp default", change: seccomp(runtimeapi.SecurityProfile_RuntimeDefault, "")},
		{name: "seccomp unconfined", change: seccomp(runtimeapi.SecurityProfile_Unconfined, "")},
		{name: "seccomp localhost", change: seccomp(runtimeapi.SecurityProfile_Localhost, f.seccomp)},
		{name: "seccomp localhost with prefix", change: seccomp(runtimeapi.SecurityProfile_Localhost, "localhost/"+f.seccomp)},
		{name: "seccomp default, deprecated", change: old("runtime/default")},
		{name: "seccomp unconfined, deprecated", change: old("unconfined")},
		{name: "seccomp localhost, deprecated", change: old("localhost/" + f.seccomp)},
		{name: "seccomp default with capabilities", change: secure(func(sc *securityContext) {
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
			sc.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_ADMIN"}, DropCapabilities: []string{"SYS_CHROOT"}}
		})},
		{name: "apparmor unconfined", change: secure(func(sc *securityContext) {
			sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		})},
		{name: "apparmor default", change: secure(func(sc *securityContext) {
			sc.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		})},
		{name: "masked and read-only paths", change: secure(func(sc *securityContext) {
			sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/keys", "/proc/kcore"}, []string{"/proc/sys", "/proc/bus"}
		})},
		{name: "only masked paths", change: secure(func(sc *securityContext) { sc.ReadonlyPaths = nil })},
		{name: "nothing masked", change: unmasked},
		{name: "SELinux options without SELinux", change: secure(func(sc *securityContext) {
			sc.SelinuxOptions = &runtimeapi.SELinuxOption{User: "u", Role: "r", Type: "t", Level: "s0"}
		})},
	}
}
