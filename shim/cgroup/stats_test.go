// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/containerd/cgroups/v3/cgroup1"
	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/containerd/cgroups/v3/cgroup2"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestStatsMatchUpstream compares the statistics of a v2 cgroup with those of containerd/cgroups.
func TestStatsMatchUpstream(t *testing.T) {
	root := tree(t, map[string]string{
		"pod/web/pids.current": "3\n",
		"pod/web/pids.max":     "max\n",
		"pod/web/cpu.stat": "usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnice_usec 1\ncore_sched.force_idle_usec 0\n" +
			"nr_periods 11\nnr_throttled 12\nthrottled_usec 13\nnr_bursts 14\nburst_usec 15\n",
		"pod/web/cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
		"pod/web/memory.stat": "anon 4096\nfile 8192\nkernel 1\nkernel_stack 3\nslab 4\nsock 5\nshmem 6\nfile_mapped 7\nfile_dirty 8\n" +
			"file_writeback 9\nanon_thp 10\ninactive_anon 11\nactive_anon 12\ninactive_file 13\nactive_file 14\nunevictable 15\n" +
			"slab_reclaimable 16\nslab_unreclaimable 17\npgfault 18\npgmajfault 19\nworkingset_refault 20\nworkingset_activate 21\n" +
			"workingset_nodereclaim 22\npgrefill 23\npgscan 24\npgsteal 25\npgactivate 26\npgdeactivate 27\npglazyfree 28\n" +
			"pglazyfreed 29\nthp_fault_alloc 30\nthp_collapse_alloc 31\n",
		"pod/web/memory.current":      "12288\n",
		"pod/web/memory.max":          "max\n",
		"pod/web/memory.peak":         "16384\n",
		"pod/web/memory.swap.current": "0\n",
		"pod/web/memory.swap.max":     "65536\n",
		"pod/web/memory.swap.peak":    "42\n",
		"pod/web/memory.pressure":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=6\n",
		"pod/web/memory.events":       "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
		"pod/web/io.stat":             "8:0 rbytes=4096 wbytes=512 rios=4 wios=1 dbytes=0 dios=0\n259:3 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
		"pod/web/io.pressure":         "some avg10=0.00 avg60=3.00 avg300=0.00 total=8\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
		"pod/web/rdma.current":        "mlx4_0 hca_handle=2 hca_object=2000\n",
		"pod/web/rdma.max":            "mlx4_0 hca_handle=3 hca_object=max\n",
	})
	m, err := cgroup2.Load("/pod/web", cgroup2.WithMountpoint(root))
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want.Hugetlb = nil // one per page size of the host, see TestStatsOfHugePages
	got := unifiedMetrics(filepath.Join(root, "pod/web"))
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("metrics (-containerd's +ours):\n%s", diff)
	}
}

func TestStatsOfHugePages(t *testing.T) {
	root := tree(t, map[string]string{
		"pod/web/hugetlb.2MB.current":            "2097152\n",
		"pod/web/hugetlb.2MB.max":                "max\n",
		"pod/web/hugetlb.2MB.events":             "max 3\n",
		"pod/web/hugetlb.2MB.rsvd.current":       "1\n",
		"hugetlb/pod/web/hugetlb.1GB.failcnt":    "1\n",
		"hugetlb/pod/web/hugetlb.1GB.rsvd.usage": "9\n",

		"hugetlb/pod/web/hugetlb.1GB.usage_in_bytes":          "1073741824\n",
		"hugetlb/pod/web/hugetlb.1GB.max_usage_in_bytes":      "2147483648\n",
		"hugetlb/pod/web/hugetlb.1GB.rsvd.usage_in_bytes":     "5\n",
		"hugetlb/pod/web/hugetlb.1GB.rsvd.max_usage_in_bytes": "6\n",
	})
	two := unifiedMetrics(filepath.Join(root, "pod/web")).Hugetlb
	wantTwo := []*v2.HugeTlbStat{{Pagesize: "2MB", Current: 2 << 20, Max: parse("max"), Failcnt: 3}}
	if diff := cmp.Diff(wantTwo, two, protocmp.Transform()); diff != "" {
		t.Errorf("v2 (-want +got):\n%s", diff)
	}
	g := &Group{Paths: map[string]string{"hugetlb": "/pod/web"}, root: root}
	wantOne := []*v1.HugetlbStat{{Pagesize: "1GB", Usage: 1 << 30, Max: 2 << 30, Failcnt: 1}}
	if diff := cmp.Diff(wantOne, g.legacyMetrics().Hugetlb, protocmp.Transform()); diff != "" {
		t.Errorf("v1 (-want +got):\n%s", diff)
	}
}

// TestLegacyStatsMatchUpstream does the same for v1.
func TestLegacyStatsMatchUpstream(t *testing.T) {
	files := map[string]string{
		"pids/pod/web/pids.current": "3\n",
		"pids/pod/web/pids.max":     "max\n",
		"memory/pod/web/memory.stat": "cache 1\nrss 2\nrss_huge 3\nmapped_file 4\ndirty 5\nwriteback 6\npgpgin 7\npgpgout 8\npgfault 9\n" +
			"pgmajfault 10\ninactive_anon 11\nactive_anon 12\ninactive_file 13\nactive_file 14\nunevictable 15\nhierarchical_memory_limit 16\n" +
			"hierarchical_memsw_limit 17\ntotal_cache 18\ntotal_rss 19\ntotal_rss_huge 20\ntotal_mapped_file 21\ntotal_dirty 22\n" +
			"total_writeback 23\ntotal_pgpgin 24\ntotal_pgpgout 25\ntotal_pgfault 26\ntotal_pgmajfault 27\ntotal_inactive_anon 28\n" +
			"total_active_anon 29\ntotal_inactive_file 30\ntotal_active_file 31\ntotal_unevictable 32\n",
		"memory/pod/web/memory.oom_control":             "oom_kill_disable 0\nunder_oom 1\noom_kill 2\n",
		"cpuacct/pod/web/cpuacct.usage":                 "1000\n",
		"cpuacct/pod/web/cpuacct.usage_percpu":          "400 600\n",
		"cpuacct/pod/web/cpuacct.stat":                  "user 1\nsystem 2\n",
		"cpu/pod/web/cpu.stat":                          "nr_periods 21\nnr_throttled 22\nthrottled_time 23\n",
		"blkio/pod/web/blkio.throttle.io_serviced":      "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
		"blkio/pod/web/blkio.sectors_recursive":         "",
		"blkio/pod/web/blkio.throttle.other":            "8:0 Read 1\n",
		"blkio/pod/web/blkio.throttle.io_service_bytes": "8:0 Read 512\n8:0 Total 512\nTotal 512\n",
	}
	for i, kind := range []string{"", "memsw.", "kmem.", "kmem.tcp."} {
		for j, name := range []string{"usage_in_bytes", "max_usage_in_bytes", "failcnt", "limit_in_bytes"} {
			files["memory/pod/web/memory."+kind+name] = strconv.Itoa(100*i+j+1) + "\n"
		}
	}
	root := tree(t, files)
	upstream, err := cgroup1.Load(cgroup1.StaticPath("/pod/web"), cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) {
		return []cgroup1.Subsystem{
			cgroup1.NewPids(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root), cgroup1.NewMemory(root), cgroup1.NewBlkio(root),
		}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	want, err := upstream.Stat()
	if err != nil {
		t.Fatal(err)
	}
	g := legacyGroup(root)
	g.Paths["blkio"] = "/pod/web"
	noDevice := protocmp.IgnoreFields(&v1.BlkIOEntry{}, "device") // depends on the host
	if diff := cmp.Diff(want, g.legacyMetrics(), protocmp.Transform(), noDevice); diff != "" {
		t.Errorf("metrics (-containerd's +ours):\n%s", diff)
	}
}

func TestEnableControllers(t *testing.T) {
	root := tree(t, map[string]string{
		"cgroup.controllers":             "cpu memory pids\n",
		"cgroup.subtree_control":         "",
		"pod/cgroup.subtree_control":     "",
		"pod/web/cgroup.subtree_control": "",
	})
	if err := unifiedGroup(root).EnableControllers(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": "+cpu +memory +pids", "pod": "+cpu +memory +pids", "pod/web": ""} {
		if got := read(t, root, dir, "cgroup.subtree_control"); got != want {
			t.Errorf("%q: %q, want %q", dir, got, want)
		}
	}
}

// A kernel may print a device without numbers on the same line as the next device.
func TestStatsOfDevices(t *testing.T) {
	root := tree(t, map[string]string{
		"pod/web/io.stat": "7:0 \n254:1 254:0 rbytes=512 wbytes=0 rios=3 wios=0 dbytes=0 dios=0\n8:0\n",
	})
	want := []*v2.IOEntry{{Major: 254, Rbytes: 512, Rios: 3}}
	got := unifiedMetrics(filepath.Join(root, "pod/web")).Io.Usage
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

// TestStatsOfOldKernel reads the statistics of a kernel that lacks files: memory.peak (5.19),
// memory.swap.peak (6.5), pressure without PSI, and swap without CONFIG_SWAP. The other values must
// be there.
func TestStatsOfOldKernel(t *testing.T) {
	root := tree(t, map[string]string{
		"pod/web/cpu.stat":       "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n",
		"pod/web/memory.stat":    "anon 4096\nfile 0\n",
		"pod/web/memory.current": "8192\n",
		"pod/web/memory.max":     "67108864\n",
		"pod/web/memory.events":  "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
		"pod/web/io.stat":        "",
		"pod/web/pids.current":   "1\n",
		"pod/web/pids.max":       "max\n",
	})
	want := &v2.Metrics{
		Pids:         &v2.PidsStat{Current: 1, Limit: parse("max")},
		CPU:          &v2.CPUStat{UsageUsec: 1000, UserUsec: 600, SystemUsec: 400},
		Memory:       &v2.MemoryStat{Anon: 4096, Usage: 8192, UsageLimit: 64 << 20},
		MemoryEvents: &v2.MemoryEvents{},
		Io:           &v2.IOStat{},
		Rdma:         &v2.RdmaStat{},
	}
	got := unifiedMetrics(filepath.Join(root, "pod/web"))
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestJoin(t *testing.T) {
	two := tree(t, map[string]string{"cgroup.procs": "", "shims/cgroup.procs": ""})
	if err := join(two, "/shims", 42); err != nil {
		t.Fatal(err)
	}
	if got := read(t, two, "shims/cgroup.procs"); got != "42" {
		t.Errorf("v2: %q", got)
	}
	one := tree(t, map[string]string{"memory/shims/cgroup.procs": "", "pids/shims/cgroup.procs": "", "cpu/cgroup.procs": ""})
	if err := join(one, "shims", 42); err != nil {
		t.Fatal(err)
	}
	if got := read(t, one, "memory/shims/cgroup.procs") + read(t, one, "pids/shims/cgroup.procs") + read(t, one, "cpu/cgroup.procs"); got != "4242" {
		t.Errorf("v1: %q", got)
	}
	if err := join(one, "/../elsewhere", 42); err == nil {
		t.Error("joined a cgroup that does not exist")
	}
}
