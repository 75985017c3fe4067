// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/stats"
)

// Numbers of pods of a full node, of one ten times as full, and of the containers in each pod.
const (
	fewPods, manyPods = 100, 1000
	perPod            = 3
)

// nodeCall is a call on a full node.
type nodeCall struct {
	name string
	// grows reports whether the answer grows with the number of pods.
	grows bool
	run   func(ctx context.Context, s *Server) error
}

// errorOf makes a call and returns its error.
func errorOf[Q, A any](ctx context.Context, call func(context.Context, Q) (A, error), request Q) error {
	_, err := call(ctx, request)
	return err
}

var nodeCalls = []nodeCall{
	{"ListPodSandbox", true, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListPodSandbox, &runtimeapi.ListPodSandboxRequest{})
	}},
	{"ListContainers", true, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListContainers, &runtimeapi.ListContainersRequest{})
	}},
	{"ListContainerStats", true, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListContainerStats, &runtimeapi.ListContainerStatsRequest{})
	}},
	{"ListPodSandboxStats", true, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListPodSandboxStats, &runtimeapi.ListPodSandboxStatsRequest{})
	}},
	{"ListPodSandboxMetrics", true, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListPodSandboxMetrics, &runtimeapi.ListPodSandboxMetricsRequest{})
	}},
	{"ListMetricDescriptors", false, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ListMetricDescriptors, &runtimeapi.ListMetricDescriptorsRequest{})
	}},
	{"ListContainers of a pod", false, func(ctx context.Context, s *Server) error {
		ofPod := &runtimeapi.ContainerFilter{LabelSelector: map[string]string{"io.kubernetes.pod.uid": podID(7)}}
		return errorOf(ctx, s.ListContainers, &runtimeapi.ListContainersRequest{Filter: ofPod})
	}},
	{"PodSandboxStatus", false, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.PodSandboxStatus, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: podID(7)})
	}},
	{"ContainerStatus", false, func(ctx context.Context, s *Server) error {
		return errorOf(ctx, s.ContainerStatus, &runtimeapi.ContainerStatusRequest{ContainerId: containerID(7, 1)})
	}},
	{"GetContainerEvents, 8 subscribers", false, publishEvent},
}

// publishEvent publishes an event of a container, and takes it from each subscription.
func publishEvent(ctx context.Context, s *Server) error {
	r, err := s.Containers.Get(containerID(7, 1))
	if err != nil {
		return err
	}
	var subscriptions [8]*event.Subscription
	for i := range subscriptions {
		subscriptions[i] = s.Events.Subscribe(s.stateOf)
		defer subscriptions[i].Close()
	}
	s.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, r)
	for _, from := range subscriptions {
		e, err := from.Next(ctx)
		if err != nil {
			return err
		}
		if n := len(s.containerEvent(e).ContainersStatuses); n != perPod {
			return fmt.Errorf("the event has %d containers, want %d", n, perPod)
		}
	}
	return nil
}

func podID(i int) string          { return fmt.Sprintf("%064x", i+1) }
func containerID(i, j int) string { return fmt.Sprintf("%032x%032x", j+1, i+1) }

// fullNode returns a server with running pods. All containers share a cgroup, whose files the
// statistics are read from.
func fullNode(tb testing.TB, pods int) *Server {
	tb.Helper()
	var podRecords []*pod.Record
	var containers []*container.Record
	for i := range pods {
		id := podID(i)
		labels := map[string]string{"io.kubernetes.pod.uid": id, "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "default"}
		podRecords = append(podRecords, &pod.Record{ID: id, Name: id, State: pod.Ready, CreatedAt: 1, Config: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: id},
			Labels:   labels,
			Linux:    &runtimeapi.LinuxPodSandboxConfig{CgroupParent: nodeCgroup},
		}})
		for j := range perPod {
			containers = append(containers, &container.Record{
				ID: containerID(i, j), Name: containerID(i, j), PodID: id, PID: 71,
				Times:   container.Times{Created: 1, Started: 2},
				Runtime: container.Runtime{ShimWritesLog: true},
				Applied: container.Applied{Cgroup: nodeCgroup},
				Config: &runtimeapi.ContainerConfig{
					Metadata: &runtimeapi.ContainerMetadata{Name: fmt.Sprint("main-", j)},
					Labels:   labels,
				},
			})
		}
	}
	containerd := saved(tb, podRecords, containers)
	for _, r := range containers {
		containerd.AddTask(r.ID, runtime.Running)
	}
	s := serverOf(tb, containerd, container.Logs{ShimWritten: noShimLogs{}})
	reader, err := stats.NewReader(nodeFiles(tb))
	if err != nil {
		tb.Fatal(err)
	}
	s.Stats = stats.NewCollector(reader, noLayers{}, stats.Rates{})
	return s
}

// nodeCgroup is the cgroup of all containers of a full node.
const nodeCgroup = "/kubepods/pod"

// nodeFiles writes the files of the cgroup to a directory, which it returns. The cgroup has one
// process with two open files.
func nodeFiles(tb testing.TB) string {
	tb.Helper()
	root := tb.TempDir()
	cgroup := filepath.Join("sys/fs/cgroup", nodeCgroup)
	for name, content := range map[string]string{
		"proc/self/mountinfo":    "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"proc/self/cgroup":       "0::/system.slice/containerd.service\n",
		"proc/71/limits":         "Max open files            1024                 524288               files     \n",
		"proc/71/fd/0":           "",
		"proc/71/fd/1":           "",
		cgroup + "/cgroup.procs": "71\n",
		cgroup + "/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n" +
			"nr_periods 40\nnr_throttled 7\nthrottled_usec 3999999\n",
		cgroup + "/cpu.max":        "50000 100000\n",
		cgroup + "/memory.current": "33554432\n",
		cgroup + "/memory.max":     "67108864\n",
		cgroup + "/memory.stat":    "anon 8388608\nfile 25165824\ninactive_file 12582912\npgfault 4242\npgmajfault 17\n",
		cgroup + "/pids.current":   "4\n",
		cgroup + "/io.stat":        "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

// noLayers has measured no writable layer yet.
type noLayers struct{}

func (noLayers) SnapshotUsage(string, string) (image.Usage, bool) { return image.Usage{}, false }
func (noLayers) SnapshotsRoot(string) string                      { return "" }
func (noLayers) Filesystem(string) (image.Filesystem, bool)       { return image.Filesystem{}, false }

// noShimLogs are the logs of shims that are not asked for anything.
type noShimLogs struct{ containerio.ShimLogs }

// TestCostGrowsWithTheAnswer compares a node with one that has ten times as many pods. If the
// answer of a call grows, the call makes at most ten times as many allocations, otherwise it
// allocates as many bytes. A tenth more is allowed, since the room of maps and lists grows in
// steps. The benchmark below measures the time.
func TestCostGrowsWithTheAnswer(t *testing.T) {
	few, many := fullNode(t, fewPods), fullNode(t, manyPods)
	for _, call := range nodeCalls {
		// A small call needs more tries: what other goroutines allocate is a larger part of it.
		limit, unit, cost, tries := 1.1, "bytes", bytesOf, 30
		if call.grows {
			// Not bytes: they depend on the buffers that a sync.Pool happens to drop.
			limit, unit, cost, tries = 1.1*manyPods/fewPods, "allocations", allocationsOf, 3
		}
		of, ofMany := least(t, few, call, cost, tries), least(t, many, call, cost, tries)
		if growth := float64(ofMany) / float64(of); growth > limit {
			t.Errorf("%s: %d %s with %d pods, %d with %d: grows %.2f times, want at most %.1f",
				call.name, of, unit, fewPods, ofMany, manyPods, growth, limit)
		}
	}
}

func bytesOf(s *goruntime.MemStats) uint64       { return s.TotalAlloc }
func allocationsOf(s *goruntime.MemStats) uint64 { return s.Mallocs }

// least returns the least cost of several calls: other goroutines may allocate meanwhile.
func least(t *testing.T, s *Server, call nodeCall, cost func(*goruntime.MemStats) uint64, tries int) uint64 {
	t.Helper()
	var before, after goruntime.MemStats
	least := uint64(math.MaxUint64)
	for range tries {
		goruntime.ReadMemStats(&before)
		if err := call.run(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
		goruntime.ReadMemStats(&after)
		least = min(least, cost(&after)-cost(&before))
	}
	return least
}

// BenchmarkFullNode measures the calls on nodes with 100 and 1 000 pods of three containers each.
func BenchmarkFullNode(b *testing.B) {
	for _, pods := range []int{fewPods, manyPods} {
		s := fullNode(b, pods)
		for _, call := range nodeCalls {
			b.Run(fmt.Sprintf("%s/pods=%d", strings.ReplaceAll(call.name, " ", "-"), pods), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := call.run(b.Context(), s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
