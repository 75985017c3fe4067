// SPDX-License-Identifier: Apache-2.0

package stats

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
)

//go:embed testdata/cadvisor.tsv
var cadvisorMetrics string

// TestDescriptors compares the tables with the metrics of cAdvisor: they have the same names, types
// and labels, except where testdata gives a reason.
func TestDescriptors(t *testing.T) {
	kinds := map[string]runtimeapi.MetricType{}
	for _, group := range append(metricGroups, filesystemMetrics) {
		for _, m := range group {
			kinds[m.name] = m.kind
		}
	}
	described := map[string]*runtimeapi.MetricDescriptor{}
	for _, d := range metricDescriptors(func(string) bool { return true }) {
		if described[d.Name] != nil {
			t.Errorf("%s has two descriptors", d.Name)
		}
		if d.Help == "" {
			t.Errorf("%s has no help", d.Name)
		}
		described[d.Name] = d
	}
	for line := range strings.Lines(cadvisorMetrics) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(strings.TrimSpace(line), "\t")
		name, kind, labels, reason := row[0], row[1], row[2], row[3]
		d := described[name]
		delete(described, name)
		switch {
		case d == nil && reason == "-":
			t.Errorf("%s is missing without a reason", name)
		case d != nil && reason != "-":
			t.Errorf("%s is present, but testdata says: %s", name, reason)
		case d != nil:
			want := append([]string{"container", "id", "image", "name", "namespace", "pod"}, strings.FieldsFunc(labels, func(r rune) bool { return r == ',' || r == '-' })...)
			if !slices.Equal(d.LabelKeys, want) {
				t.Errorf("%s has labels %v, want %v", name, d.LabelKeys, want)
			}
			if got := strings.ToLower(kinds[name].String()); got != kind {
				t.Errorf("%s is a %s, want a %s", name, got, kind)
			}
		}
	}
	for name := range described {
		t.Errorf("%s is no metric of cAdvisor", name)
	}
}

func merge(parts ...map[string]uint64) map[string]uint64 {
	all := map[string]uint64{}
	for _, part := range parts {
		for name, n := range part {
			all[name] = n
		}
	}
	return all
}

// flatten checks metrics against the descriptors and returns them in the form of the tables above.
// All must have the given base labels.
func flatten(t *testing.T, base []string, metrics []*runtimeapi.Metric) map[string]uint64 {
	t.Helper()
	keys := map[string]int{}
	for _, d := range metricDescriptors(func(string) bool { return true }) {
		keys[d.Name] = len(d.LabelKeys)
	}
	flat := map[string]uint64{}
	for _, m := range metrics {
		if n, ok := keys[m.Name]; !ok || n != len(m.LabelValues) {
			t.Fatalf("%s has %d labels, its descriptor %d", m.Name, len(m.LabelValues), n)
		}
		if got := m.LabelValues[:len(base)]; !slices.Equal(got, base) {
			t.Errorf("%s is labelled %q, want %q", m.Name, got, base)
		}
		name := strings.Join(append([]string{m.Name}, m.LabelValues[len(base):]...), " ")
		if _, ok := flat[name]; ok {
			t.Errorf("%s is there twice", name)
		}
		flat[name] = m.Value.Value
		sampled := strings.HasPrefix(name, "container_fs_") && strings.HasSuffix(name, " /dev/sdb1")
		if want := map[bool]int64{true: 77}[sampled]; m.Timestamp != want {
			t.Errorf("%s has timestamp %d, want %d", name, m.Timestamp, want)
		}
	}
	return flat
}

// checkLastSeen checks that container_last_seen is the present time, and removes it.
func checkLastSeen(t *testing.T, metrics map[string]uint64) map[string]uint64 {
	t.Helper()
	const name = "container_last_seen"
	if age := time.Since(time.Unix(int64(metrics[name]), 0)); age < 0 || age > time.Minute {
		t.Errorf("last seen %s ago", age)
	}
	delete(metrics, name)
	return metrics
}

func TestMetrics(t *testing.T) {
	const parent = "/kubepods/pod1"
	v2 := machineV2.with(hardware, cgroupV2.below("sys/fs/cgroup"+parent+"/abc"), cgroupV2.below("sys/fs/cgroup"+parent))
	v1 := machineV1.with(hardware, cgroupV1(parent+"/abc"), cgroupV1(parent))
	hybrid := hybrid.with(hardware, cgroupV1(parent+"/abc"), cgroupV1(parent))
	produced := map[string]bool{}
	for _, tt := range []struct {
		name    string
		machine tree
		want    map[string]uint64
	}{
		{"v2", v2, merge(both, onlyV2)},
		{"v1", v1, merge(both, onlyV1)},
		{"hybrid", hybrid, merge(both, onlyV1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCollector(tt.machine.reader(t), fakeLayers{}, Rates{})
			p, r := newPod(parent), measuredContainer("abc")
			got := c.PodMetrics(p, []*container.Record{r, newContainer("old", func(r *container.Record) { r.Times.Finished = 3 })})
			if got.PodSandboxId != "p" || len(got.ContainerMetrics) != 1 || got.ContainerMetrics[0].ContainerId != "abc" {
				t.Fatalf("metrics of %v, want the running container's", got)
			}
			of := checkLastSeen(t, flatten(t, []string{"web", "/kubepods/pod1/abc", "example.com/web:1", "abc", "default", "web"}, got.ContainerMetrics[0].Metrics))
			if d := cmp.Diff(tt.want, of); d != "" {
				t.Errorf("container (-want +got):\n%s", d)
			}
			of = checkLastSeen(t, flatten(t, []string{"", "/kubepods/pod1", "", "", "default", "web"}, got.Metrics))
			if d := cmp.Diff(ofPod(tt.want), of); d != "" {
				t.Errorf("pod (-want +got):\n%s", d)
			}
			for name := range tt.want {
				name, _, _ := strings.Cut(name, " ")
				produced[name] = true
			}
		})
	}
	produced["container_last_seen"] = true
	for _, d := range metricDescriptors(func(string) bool { return true }) {
		if !produced[d.Name] && !strings.HasPrefix(d.Name, "container_network_") {
			t.Errorf("no value of %s was tested", d.Name)
		}
	}
}

// measuredContainer returns a running container of a pod with a CPU quota.
func measuredContainer(id string) *container.Record {
	return newContainer(id, func(r *container.Record) {
		r.PID = 71
		r.Image.Name = "example.com/web:1"
		r.Times = container.Times{Created: 1000e9 + 1, Started: 1002e9 + 999_999_999}
	})
}

// ofPod returns those metrics of a container that the cgroup of its pod has, too.
func ofPod(metrics map[string]uint64) map[string]uint64 {
	pod := map[string]uint64{}
	for name, n := range metrics {
		if !strings.HasSuffix(name, " /dev/sdb1") && !strings.HasPrefix(name, "container_ulimits") {
			pod[name] = n
		}
	}
	pod["container_creation_time_seconds"], pod["container_start_time_seconds"] = 900, 900
	return pod
}

func TestNetworkMetrics(t *testing.T) {
	c := NewCollector(machineV2.reader(t), fakeLayers{}, Rates{})
	s := c.networkSubject(newPod("/kubepods/pod1"), networkReadings{interfaces: parseNetDev([]byte(netHead + netLo + netNet1 + netVeth + netEth0))})
	got := flatten(t, []string{"", "/kubepods/pod1/p", "", "p", "default", "web"}, s.append(nil, networkMetrics, live))
	want := map[string]uint64{
		"container_network_receive_bytes_total net1":            11,
		"container_network_receive_packets_total net1":          2,
		"container_network_receive_errors_total net1":           3,
		"container_network_receive_packets_dropped_total net1":  4,
		"container_network_transmit_bytes_total net1":           9,
		"container_network_transmit_packets_total net1":         10,
		"container_network_transmit_errors_total net1":          11,
		"container_network_transmit_packets_dropped_total net1": 12,
		"container_network_receive_bytes_total eth0":            1<<64 - 1,
		"container_network_receive_packets_total eth0":          2,
		"container_network_receive_errors_total eth0":           30,
		"container_network_receive_packets_dropped_total eth0":  4,
		"container_network_transmit_bytes_total eth0":           90,
		"container_network_transmit_packets_total eth0":         10,
		"container_network_transmit_errors_total eth0":          110,
		"container_network_transmit_packets_dropped_total eth0": 12,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
}

// TestMissingFileOmitsItsMetrics checks that a missing file leaves out its own metrics only.
func TestMissingFileOmitsItsMetrics(t *testing.T) {
	always := map[string]uint64{"container_creation_time_seconds": 1000, "container_start_time_seconds": 1002}
	layer := map[string]uint64{
		"container_fs_usage_bytes /dev/sdb1": 0, "container_fs_limit_bytes /dev/sdb1": 1 << 40,
		"container_fs_inodes_total /dev/sdb1": 1000, "container_fs_inodes_free /dev/sdb1": 400,
	}
	tests := []struct {
		name  string
		files tree
		want  map[string]uint64
	}{
		{"cgroup removed", nil, nil},
		{"no CPU quota", tree{"cpu.stat": "usage_usec 9000000\nnr_periods 0\nnr_throttled 0\n", "cpu.max": "max 100000\n"},
			map[string]uint64{"container_cpu_usage_seconds_total total": 9, "container_spec_cpu_period": 100000}},
		{"no limits", tree{"memory.current": "5\n", "memory.max": "max\n", "memory.swap.max": "max\n", "pids.max": "max\n"},
			map[string]uint64{
				"container_memory_usage_bytes": 5, "container_spec_memory_limit_bytes": 0,
				"container_spec_memory_swap_limit_bytes": 0, "container_threads_max": 0,
			}},
		{"no processes", tree{"cgroup.procs": ""},
			map[string]uint64{"container_processes": 0, "container_file_descriptors": 0, "container_sockets": 0}},
		{"the init has exited, its PID is reused", tree{"cgroup.procs": "72\n"},
			map[string]uint64{"container_processes": 1, "container_file_descriptors": 1, "container_sockets": 1}},
		{"too many processes", tree{"cgroup.procs": strings.Repeat("4194303\n", maxFile/8+1)}, nil},
		{"an exited process", tree{"cgroup.procs": "73\n"},
			map[string]uint64{"container_processes": 1, "container_file_descriptors": 0, "container_sockets": 0}},
		{"waited", tree{"io.pressure": "some avg10=0 avg60=0 avg300=0 total=2999999\nfull avg10=0 avg60=0 avg300=0 total=1000000\n"},
			map[string]uint64{"container_pressure_io_waiting_seconds_total": 2, "container_pressure_io_stalled_seconds_total": 1}},
		{"nonsense", tree{
			"cpu.max": "max\n", "cpu.weight": "0\n", "io.stat": "rbytes=1\n8:x rbytes=1\nhuh\n8:0 rbytes=-1 wbytes wios=\n",
			"memory.events": "oom_kill\n", "hugetlb.2MB.current": "?\n", "io.pressure": "huh\n", "cgroup.procs": "../../etc x\n",
		}, map[string]uint64{"container_processes": 2, "container_file_descriptors": 0, "container_sockets": 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			machine := machineV2.with(hardware, tt.files.below("sys/fs/cgroup/kubepods/pod1/other"))
			c := NewCollector(machine.reader(t), fakeLayers{}, Rates{})
			got := c.containerSubject(newPod("/kubepods/pod1"), measuredContainer("other")).metrics()
			flat := checkLastSeen(t, flatten(t, []string{"web", "/kubepods/pod1/other", "example.com/web:1", "other", "default", "web"}, got))
			if d := cmp.Diff(merge(always, layer, tt.want), flat); d != "" {
				t.Errorf("metrics (-want +got):\n%s", d)
			}
		})
	}
}

// TestManyDescriptors checks that the number of open files that are counted is limited, and that no
// partial count is reported.
func TestManyDescriptors(t *testing.T) {
	machine := machineV2.with(tree{"cgroup.procs": "71\n72\n"}.below("sys/fs/cgroup/abc"))
	for i := range maxDescriptors/2 + 1 {
		machine[fmt.Sprintf("proc/71/fd/%d", i)] = link + "socket:[1]"
		machine[fmt.Sprintf("proc/72/fd/%d", i)] = link + "socket:[1]"
	}
	p := machine.reader(t).processes("/abc", 71)
	if p.files != nil || p.sockets != nil || p.count.GetValue() != 2 {
		t.Errorf("%v files, %v sockets, %v processes, want 2 processes only", p.files, p.sockets, p.count)
	}
}

// TestMetricsOfABrokenPod checks that a pod without its network and cgroup has an entry, and that a
// pod without a cgroup_parent has the metrics of its containers.
func TestMetricsOfABrokenPod(t *testing.T) {
	c := NewCollector(machineV2.with(hardware, cgroupV2.below("sys/fs/cgroup/kubepods/pod1/abc")).reader(t), fakeLayers{}, Rates{})
	p := newPod("/gone")
	p.Namespaces.Net = t.TempDir() + "/gone"
	got := c.PodMetrics(p, []*container.Record{measuredContainer("abc")})
	if n := len(got.Metrics); n != len(lifeMetrics) {
		t.Errorf("%d metrics of the pod, want %d", n, len(lifeMetrics))
	}
	if n := len(got.ContainerMetrics[0].Metrics); n != 1+len(both)+len(onlyV2) {
		t.Errorf("%d metrics of its container, want %d", n, 1+len(both)+len(onlyV2))
	}
	got = c.PodMetrics(newPod(""), []*container.Record{measuredContainer("abc")})
	if len(got.Metrics) != 0 || len(got.ContainerMetrics[0].Metrics) == 0 {
		t.Errorf("%d metrics of a pod without a cgroup, %d of its container", len(got.Metrics), len(got.ContainerMetrics[0].Metrics))
	}
}

// TestLabelsOfSlices checks that the label id is the path of the cgroup in each form that a spec
// names it.
func TestLabelsOfSlices(t *testing.T) {
	const slice = "kubepods-besteffort-pod1.slice"
	c := NewCollector(machineV2.reader(t), fakeLayers{}, Rates{})
	p, r := newPod("/kubepods.slice/kubepods-besteffort.slice/"+slice), measuredContainer("abc")
	r.Cgroup = slice + ":cri-containerd:abc"
	dir := "/kubepods.slice/kubepods-besteffort.slice/" + slice
	for _, tt := range []struct {
		s    *subject
		want string
	}{
		{c.containerSubject(p, r), dir + "/cri-containerd-abc.scope"},
		{c.podSubject(p), dir},
		{c.networkSubject(p, networkReadings{}), dir + "/cri-containerd-p.scope"},
		{c.networkSubject(newPod(""), networkReadings{}), "/k8s.io/p"},
	} {
		if got := tt.s.labels[slices.Index(baseLabels, "id")]; got != tt.want {
			t.Errorf("id %q, want %q", got, tt.want)
		}
	}
}

func TestShares(t *testing.T) {
	for weight, want := range map[uint64]uint64{1: 2, 100: 1024, 10000: 262144} {
		if got := sharesOf(weight); got != want {
			t.Errorf("weight %d is %d shares, want %d", weight, got, want)
		}
	}
}

// TestDescriptorsOfTheNode checks that metrics that a node cannot measure have no descriptor: the
// kubelet expects a value of each.
func TestDescriptorsOfTheNode(t *testing.T) {
	const pages, controllers = "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "sys/fs/cgroup/cgroup.controllers"
	onlySome := []string{
		"container_hugetlb_failcnt", "container_fs_io_cost_usage_seconds_total", "container_pressure_cpu_waiting_seconds_total",
		"container_memory_events_high_total", "container_memory_pgscan_total", "container_memory_workingset_refault_file_total",
	}
	for name, test := range map[string]struct {
		machine tree
		want    []string
	}{
		"v1":    {machineV1, nil},
		"plain": {machineV2, onlySome[3:]},
		"all": {machineV2.with(tree{
			pages: "0\n", controllers: "cpu hugetlb memory\n", "sys/fs/cgroup/io.cost.qos": "8:0 enable=1 ctrl=auto\n", "proc/pressure/cpu": "some\n",
		}), onlySome},
		"off": {machineV2.with(tree{pages: "0\n", controllers: "cpu memory\n", "sys/fs/cgroup/io.cost.qos": "8:0 enable=0\n"}), onlySome[3:]},
	} {
		c := &Collector{reader: test.machine.reader(t)}
		var got []string
		for _, d := range c.MetricDescriptors() {
			if slices.Contains(onlySome, d.Name) {
				got = append(got, d.Name)
			}
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(test.want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
