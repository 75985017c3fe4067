// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
)

// controllers are the cgroup controllers without which the kubelet does not start.
var controllers = []string{"cpu", "cpuset", "memory", "pids"}

// cgroups checks the cgroup hierarchies and the driver.
func cgroups(_ context.Context, n Node) []Finding {
	found, err := host.ReadCgroups(os.DirFS(n.Root))
	if err != nil {
		return []Finding{failure("mount -t cgroup2 none /sys/fs/cgroup", "cgroups cannot be read: %v", err)}
	}
	var problems []Finding
	for _, c := range controllers {
		if !slices.Contains(found.Controllers, c) {
			problems = append(problems, failure("boot with cgroup_enable="+c+" (and cgroup_memory=1 on a Raspberry Pi)",
				"the cgroup controller %s is missing: the kubelet does not start", c))
		}
	}
	if found.Mode != cgroup.V2 {
		problems = append(problems, warning("boot with systemd.unified_cgroup_hierarchy=1",
			"the node has cgroup %s: kubelets since 1.35 need failCgroupV1: false, and pods have no memory QoS", found.Mode))
	}
	return append(append(problems, drivers(n)...), ok("cgroup %s with %s", found.Mode, strings.Join(found.Controllers, ", ")))
}

// drivers checks that all handlers and systemd agree on the cgroup driver.
func drivers(n Node) []Finding {
	systemd, known, others := n.Config.Runtime.CgroupDriver()
	var problems []Finding
	if len(others) > 0 {
		problems = append(problems, warning("set options.SystemdCgroup of all handlers to the same value in config.toml",
			"handlers %s have another cgroup driver than the default handler: limits of pods do not apply to their containers", strings.Join(others, ", ")))
	}
	_, err := os.Lstat(n.path("run/systemd/system"))
	if hasSystemd := err == nil; hasSystemd && known && !systemd {
		problems = append(problems, warning(setDriver(n.Config.Runtime, true),
			"systemd runs, but the handlers use the cgroup driver cgroupfs: two programs manage the same cgroups"))
	}
	return problems
}

// setDriver says how to set the cgroup driver of the default handler.
func setDriver(r config.Runtime, systemd bool) string {
	key := config.KeyPath(config.RuntimeTable, "containerd", "runtimes", r.Containerd.DefaultRuntimeName, "options", "SystemdCgroup")
	if systemd {
		return "set " + key + " = true, and restart containerd-lite"
	}
	return "set " + key + " = false, and restart containerd-lite"
}
