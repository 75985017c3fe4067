// SPDX-License-Identifier: Apache-2.0

package check

import "context"

// securityModules checks that AppArmor and SELinux can do what the config asks.
func securityModules(_ context.Context, n Node) []Finding {
	var problems []Finding
	settings := n.Config.Runtime
	hasAppArmor := n.read("sys/module/apparmor/parameters/enabled") == "Y"
	if hasAppArmor && !settings.DisableApparmor && !isFile(n.path("sbin/apparmor_parser")) && !isFile(n.path("usr/sbin/apparmor_parser")) {
		problems = append(problems, failure("apt install apparmor",
			"AppArmor is on, but apparmor_parser is not installed: containers with the profile RuntimeDefault fail"))
	}
	hasSELinux := n.read("sys/fs/selinux/enforce") != ""
	switch {
	case settings.EnableSelinux && !hasSELinux:
		problems = append(problems, warning("remove the key, or enable SELinux and reboot", "enable_selinux is set, but SELinux is off: containers run without labels"))
	case !settings.EnableSelinux && hasSELinux:
		problems = append(problems, warning("set plugins.'io.containerd.cri.v1.runtime'.enable_selinux = true",
			"SELinux is on, but enable_selinux is not set: containers are not confined by it"))
	}
	return orOK(problems, "AppArmor is %s, SELinux is %s", onOff(hasAppArmor), onOff(hasSELinux))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
