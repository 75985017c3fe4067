// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// limits prints the memory limit, CPU quota and period of the container's own cgroup, on v2 or v1.
const limits = `cd /sys/fs/cgroup; if [ -e memory.max ]; then cat memory.max cpu.max; else
cat memory/memory.limit_in_bytes; echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); fi`

func resources(t *testing.T, n *node) {
	p := n.run(t, id(t), `
containers:
- name: main
  command: [sleep, "1000"]
  resources: {limits: {memory: 48Mi, cpu: 250m}, requests: {memory: 16Mi, cpu: 100m}}
`)
	now := p.running()
	if diff := cmp.Diff("50331648\n25000 100000", p.exec("main", "sh", "-c", limits)); diff != "" {
		t.Errorf("cgroup limits: -want +got:\n%s", diff)
	}
	got := map[string]string{}
	status := container(now, "main")
	if status.Resources == nil {
		t.Fatal("the status has no resources")
	}
	for name, quantity := range status.Resources.Limits {
		got["limit of "+name.String()] = quantity.String()
	}
	for name, quantity := range status.Resources.Requests {
		got["request of "+name.String()] = quantity.String()
	}
	want := map[string]string{
		"limit of memory": "48Mi", "limit of cpu": "250m", "request of memory": "16Mi", "request of cpu": "100m",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status: -want +got:\n%s", diff)
	}
}
