// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/containerd/cgroups/v3"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// busy is a pod with usage of every kind: it uses the CPU, it receives requests over its network,
// and it writes to its root file system, its log and a volume.
const busy = `
volumes: [{name: work, emptyDir: {}}]
containers:
- name: main
  image: ` + image.Httpd + `
  command: [sh, -c, "head -c 300000 /dev/zero | tee /file >/work/file; echo logged; httpd -p 80 -h /www; while :; do :; done"]
  readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1, timeoutSeconds: 60}
  resources: {limits: {cpu: 50m, memory: 64Mi}}
  volumeMounts: [{name: work, mountPath: /work}]
`

func summary(t *testing.T, n *node) {
	p := n.run(t, id(t), busy)
	p.running()
	if err := n.until(t.Context(), func() error {
		var summary stats.Summary
		if err := n.getJSON(t.Context(), "/stats/summary", &summary); err != nil {
			return err
		}
		for _, s := range summary.Pods {
			if s.PodRef.Name == p.name {
				return errors.Join(missing(s, n.config.Gates["PodAndContainerStatsFromCRI"])...)
			}
		}
		return fmt.Errorf("pod %s is not in the summary", p.name)
	}); err != nil {
		t.Error(err)
	}
}

// missing returns the values that are missing in the statistics of a busy pod. If the kubelet gets
// all statistics from the CRI, it sums up the swap of a pod's containers only in a summary with
// only_cpu_and_memory (v1.37, aggregatePodSwapStats): the CRI has no such field.
func missing(s stats.PodStats, fromCRI bool) []error {
	var errs []error
	want := func(name string, value *uint64, least uint64) {
		if value == nil || *value < least {
			errs = append(errs, fmt.Errorf("pod %s: %s is %v, want at least %d", s.PodRef.Name, name, show(value), least))
		}
	}
	cpu := func(name string, s *stats.CPUStats) {
		s = orZero(s)
		want(name+": CPU time", s.UsageCoreNanoSeconds, 1)
		want(name+": CPU rate", s.UsageNanoCores, 1)
	}
	memory := func(name string, s *stats.MemoryStats) {
		s = orZero(s)
		want(name+": working set", s.WorkingSetBytes, 1)
		want(name+": RSS", s.RSSBytes, 1)
	}
	cpu("pod", s.CPU)
	memory("pod", s.Memory)
	want("pod: ephemeral storage", orZero(s.EphemeralStorage).UsedBytes, 600_000)
	want("pod: processes", orZero(s.ProcessStats).ProcessCount, 1)
	network := orZero(s.Network)
	if network.Name != "eth0" || len(network.Interfaces) == 0 {
		errs = append(errs, fmt.Errorf("pod %s: network %+v, want eth0", s.PodRef.Name, network))
	}
	want("network: received", network.RxBytes, 1)
	want("network: sent", network.TxBytes, 1)
	if len(s.VolumeStats) != 1 {
		errs = append(errs, fmt.Errorf("pod %s: %d volumes, want 1", s.PodRef.Name, len(s.VolumeStats)))
	}
	for _, v := range s.VolumeStats {
		want("volume "+v.Name, v.UsedBytes, 300_000)
	}
	if len(s.Containers) != 1 {
		return append(errs, fmt.Errorf("pod %s: %d containers, want 1", s.PodRef.Name, len(s.Containers)))
	}
	main := s.Containers[0]
	cpu("container", main.CPU)
	memory("container", main.Memory)
	want("container: root file system", orZero(main.Rootfs).UsedBytes, 300_000)
	want("container: log", orZero(main.Logs).UsedBytes, 1)
	if cgroups.Mode() == cgroups.Unified {
		if !fromCRI {
			want("pod: swap", orZero(s.Swap).SwapUsageBytes, 0)
		}
		want("container: swap", orZero(main.Swap).SwapUsageBytes, 0)
	}
	if _, err := os.Stat("/proc/pressure"); err == nil && cgroups.Mode() == cgroups.Unified {
		// The pod requests more CPU than it gets.
		want("container: pressure on the CPU", &orZero(orZero(main.CPU).PSI).Some.Total, 1)
		if orZero(main.Memory).PSI == nil || orZero(main.IO).PSI == nil {
			errs = append(errs, fmt.Errorf("pod %s: memory pressure %+v, I/O pressure %+v", s.PodRef.Name, main.Memory, main.IO))
		}
	}
	return errs
}

func orZero[T any](value *T) *T {
	if value == nil {
		return new(T)
	}
	return value
}

func show(value *uint64) string {
	if value == nil {
		return "missing"
	}
	return fmt.Sprint(*value)
}

// metrics are those of /metrics/cadvisor that dashboards and autoscalers read, with labels in
// addition to the pod's.
var metrics = []string{
	`container_cpu_usage_seconds_total{container="main"`,
	`container_cpu_cfs_throttled_periods_total{container="main"`,
	`container_memory_working_set_bytes{container="main"`,
	`container_memory_rss{container="main"`,
	`container_spec_memory_limit_bytes{container="main"`,
	`container_start_time_seconds{container="main"`,
	`container_processes{container="main"`,
	`container_network_receive_bytes_total{`,
	`container_network_transmit_packets_total{`,
}

func cadvisorMetrics(t *testing.T, n *node) {
	p := n.run(t, id(t), busy)
	p.running()
	if err := n.until(t.Context(), func() error {
		text, err := n.get(t.Context(), "/metrics/cadvisor")
		if err != nil {
			return err
		}
		return errors.Join(absent(string(text), p.name)...)
	}); err != nil {
		t.Error(err)
	}
}

// absent returns an error for each metric without a sample above 0 for the pod.
func absent(text, pod string) []error {
	var errs []error
	for _, metric := range metrics {
		found := false
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			ours := strings.HasPrefix(line, metric) && strings.Contains(line, `pod="`+pod+`"`) && strings.Contains(line, `namespace="default"`)
			if ours && !strings.Contains(line, "} 0 ") && !strings.HasSuffix(line, "} 0") {
				found = true
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("pod %s: no sample of %s", pod, metric))
		}
	}
	return errs
}
