// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// series are the metrics of one pod or container by name.
type series map[string][]*runtimeapi.Metric

// value returns the only value of a metric whose label values include the given ones.
func (s series) value(t *testing.T, name string, labels ...string) *runtimeapi.UInt64Value {
	t.Helper()
	var found []*runtimeapi.Metric
	for _, m := range s[name] {
		if !slices.ContainsFunc(labels, func(label string) bool { return !slices.Contains(m.LabelValues, label) }) {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Errorf("%s: %d values with the labels %v: %v", name, len(found), labels, found)
		return nil
	}
	return found[0].Value
}

// scrape reads the descriptors and the metrics, as the kubelet does. It fails if two values have
// the same labels, which Prometheus would refuse.
func (b *bench) scrape(t *testing.T) (pods, containers map[string]series) {
	t.Helper()
	descriptors, err := b.ListMetricDescriptors(t.Context(), &runtimeapi.ListMetricDescriptorsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{}
	for _, d := range descriptors.Descriptors {
		keys[d.Name] = d.LabelKeys
	}
	answer, err := b.ListPodSandboxMetrics(t.Context(), &runtimeapi.ListPodSandboxMetricsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	add := func(list []*runtimeapi.Metric) series {
		s := series{}
		for _, m := range list {
			id := m.Name + fmt.Sprintf("%q", m.LabelValues)
			if seen[id] || len(m.LabelValues) != len(keys[m.Name]) {
				t.Errorf("%s is duplicate, or does not have the labels %v", id, keys[m.Name])
			}
			seen[id] = true
			s[m.Name] = append(s[m.Name], m)
		}
		return s
	}
	pods, containers = map[string]series{}, map[string]series{}
	for _, p := range answer.PodMetrics {
		pods[p.PodSandboxId] = add(p.Metrics)
		for _, c := range p.ContainerMetrics {
			containers[c.ContainerId] = add(c.Metrics)
		}
	}
	return pods, containers
}

func metrics(t *testing.T, b *bench) {
	before := b.cpuUsed(t, b.web, b.worker)
	pods, containers := b.scrape(t)
	after := b.cpuUsed(t, b.web, b.worker)
	if len(pods) != 3 || len(containers) != 4 {
		t.Fatalf("metrics of %d pods and %d containers, want 3 and 4: an exited container has none", len(pods), len(containers))
	}
	worker, server := containers[b.worker], containers[b.server]
	labels := []string{"worker", b.ContainerCgroup(b.web.config, b.worker), image.Busybox, b.worker, "bench", "web"}
	if m := worker["container_last_seen"]; len(m) != 1 || !slices.Equal(m[0].LabelValues, labels) {
		t.Errorf("labels: got %v, want %v", m, labels)
	}
	within(t, "CPU time", worker.value(t, "container_cpu_usage_seconds_total", "total"), before/1e9, after/1e9)
	within(t, "CPU quota", worker.value(t, "container_spec_cpu_quota"), quota, quota)
	within(t, "CPU period", worker.value(t, "container_spec_cpu_period"), 100000, 100000)
	// The weights of cgroup v2 have a coarser resolution.
	within(t, "CPU shares", worker.value(t, "container_spec_cpu_shares"), 511, 522)
	within(t, "throttled", worker.value(t, "container_cpu_cfs_throttled_periods_total"), 1, 1<<40)
	within(t, "memory limit", worker.value(t, "container_spec_memory_limit_bytes"), memoryLimit, memoryLimit)
	within(t, "resident memory", worker.value(t, "container_memory_rss"), held, memoryLimit)
	within(t, "maximum memory", worker.value(t, "container_memory_max_usage_bytes"), held, memoryLimit)
	within(t, "OOM kills", worker.value(t, "container_oom_events_total"), 0, 0)
	within(t, "OOM kills", containers[b.killed].value(t, "container_oom_events_total"), 1, 1)
	within(t, "writable layer", worker.value(t, "container_fs_usage_bytes"), written, 2*written)
	within(t, "file system", worker.value(t, "container_fs_limit_bytes"), written, 1<<60)
	// httpd with its socket and output, and two sleeps.
	within(t, "processes", server.value(t, "container_processes"), 3, 3)
	within(t, "threads", server.value(t, "container_threads"), 3, 3)
	within(t, "files", server.value(t, "container_file_descriptors"), 10, 20)
	within(t, "sockets", server.value(t, "container_sockets"), 1, 1)
	within(t, "open files", server.value(t, "container_ulimits_soft", "max_open_files"), 1, 1<<40)
	status, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: b.server})
	if err != nil {
		t.Fatal(err)
	}
	started := uint64(status.Status.StartedAt) / uint64(time.Second)
	within(t, "start time", server.value(t, "container_start_time_seconds"), started, started)

	parent := b.web.config.Linux.CgroupParent
	within(t, "the pod's CPU time", pods[b.web.id].value(t, "container_cpu_usage_seconds_total", parent), before/1e9, 1<<40)
	within(t, "the pod's memory", pods[b.web.id].value(t, "container_memory_rss", parent), held, 2*memoryLimit)
	within(t, "sent", pods[b.web.id].value(t, "container_network_transmit_bytes_total", "eth0", b.web.id), served, 2*served)
	within(t, "packets", pods[b.web.id].value(t, "container_network_transmit_packets_total", "eth0"), 1, served)
	if m := pods[b.host.id]["container_network_transmit_bytes_total"]; m != nil {
		t.Errorf("got network %v for a pod on the host network", m)
	}
}

func crictl(t *testing.T, b *bench) {
	for _, command := range []string{"metricdescs", "metricsp"} {
		out, err := harness.Output(b.Crictl(t.Context(), command))
		if err != nil {
			t.Errorf("crictl %v", err)
		}
		if !strings.Contains(out, "container_memory_working_set_bytes") {
			t.Errorf("crictl %s: %.200s", command, out)
		}
	}
}

// stuckShim stops the shim of a pod. Calls that only read must not need the shim.
func stuckShim(t *testing.T, b *bench) {
	shim := b.shim(t, b.stuck)
	if err := syscall.Kill(shim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(shim, syscall.SIGCONT) })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for name, call := range map[string]func() (found bool, err error){
		"ContainerStats": func() (bool, error) {
			answer, err := b.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: b.stuck.member})
			return answer.GetStats().GetCpu() != nil, err
		},
		"ListContainerStats": func() (bool, error) {
			answer, err := b.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
			return slices.ContainsFunc(answer.GetStats(), func(s *runtimeapi.ContainerStats) bool {
				return s.Attributes.Id == b.stuck.member && s.Memory != nil
			}), err
		},
		"PodSandboxStats": func() (bool, error) {
			answer, err := b.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: b.stuck.id})
			return answer.GetStats().GetLinux().GetNetwork() != nil, err
		},
		"ListPodSandboxStats": func() (bool, error) {
			answer, err := b.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
			return slices.ContainsFunc(answer.GetStats(), func(s *runtimeapi.PodSandboxStats) bool {
				return s.Attributes.Id == b.stuck.id && s.Linux.Cpu != nil
			}), err
		},
		"ListPodSandboxMetrics": func() (bool, error) {
			answer, err := b.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
			return slices.ContainsFunc(answer.GetPodMetrics(), func(p *runtimeapi.PodSandboxMetrics) bool {
				return p.PodSandboxId == b.stuck.id && len(p.Metrics) > 0 && len(p.ContainerMetrics) == 1
			}), err
		},
		"ImageFsInfo": func() (bool, error) {
			_, err := b.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
			return true, err
		},
	} {
		if found, err := call(); err != nil || !found {
			t.Errorf("%s with a stopped shim: pod found: %v, error: %v", name, found, err)
		}
	}
}

// shim returns the PID of a pod's shim. The shim is named after its first task.
func (b *bench) shim(t *testing.T, p pod) int {
	t.Helper()
	shims, err := b.Processes("containerd-shim")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range shims {
		command, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline"))
		if strings.Contains(string(command), p.id) || strings.Contains(string(command), p.member) {
			return pid
		}
	}
	t.Fatalf("no shim of pod %s among %v", p.id, shims)
	return 0
}
