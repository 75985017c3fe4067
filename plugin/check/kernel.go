// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"slices"
	"strings"
)

// kernel checks the features of the kernel that pods need.
func kernel(_ context.Context, n Node) []Finding {
	var problems []Finding
	if n.Config.Images.Snapshotter == "overlayfs" && !hasWord(n.read("proc/filesystems"), "overlay") {
		problems = append(problems, failure("modprobe overlay; echo overlay > /etc/modules-load.d/overlay.conf",
			"the file system overlay is not loaded, and the snapshotter overlayfs needs it"))
	}
	if n.read("proc/sys/net/ipv4/ip_forward") == "0" {
		problems = append(problems, warning("sysctl -w net.ipv4.ip_forward=1; echo net.ipv4.ip_forward=1 > /etc/sysctl.d/99-kubernetes.conf",
			"net.ipv4.ip_forward is 0: pods on a bridge reach no other host"))
	}
	if n.read("proc/sys/user/max_user_namespaces") == "0" {
		problems = append(problems, warning("sysctl -w user.max_user_namespaces=15000",
			"user.max_user_namespaces is 0: pods with hostUsers: false fail"))
	}
	if !strings.Contains(n.read("proc/self/status"), "\nSeccomp:") {
		problems = append(problems, warning("use a kernel with CONFIG_SECCOMP_FILTER",
			"the kernel has no seccomp: containers with a seccomp profile fail, others run without one"))
	}
	return orOK(problems, "Linux %s has what pods need", n.read("proc/sys/kernel/osrelease"))
}

func hasWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }
