// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// The cgroup mounts and the daemon's cgroup on nodes with cgroup v2, v1 and both, and on a node
// where v1 is mounted over v2.
var (
	nodeV2 = node("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
		"0::/system.slice/containerd.service\n")
	nodeV1     = node(mountsV1, cgroupsV1)
	nodeHybrid = node(mountsV1+"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
		cgroupsV1+"0::/system.slice/containerd.service\n")
	nodeV1OverV2 = node("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"+mountsV1, cgroupsV1)
)

const (
	mountsV1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	cgroupsV1 = "9:pids:/system.slice/containerd.service\n4:memory:/system.slice/containerd.service\n" +
		"2:cpu,cpuacct:/system.slice\n1:name=systemd:/system.slice/containerd.service\n"
)

func node(mounts, own string) fstest.MapFS {
	return fstest.MapFS{
		"proc/self/mountinfo": {Data: []byte("22 20 0:21 / /proc rw - proc proc rw\n" + mounts)},
		"proc/self/cgroup":    {Data: []byte(own)},
	}
}

func find(tb testing.TB, node fstest.MapFS) Hierarchies {
	tb.Helper()
	h, err := Find(node)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestMode(t *testing.T) {
	for name, test := range map[string]struct {
		node fstest.MapFS
		mode Mode
		text string
	}{
		"v2":         {nodeV2, V2, "v2"},
		"v1":         {nodeV1, V1, "v1"},
		"hybrid":     {nodeHybrid, Hybrid, "hybrid"},
		"v1 over v2": {nodeV1OverV2, V1, "v1"},
		"none":       {node("", ""), 0, "unknown"},
	} {
		if got := find(t, test.node).Mode; got != test.mode || got.String() != test.text {
			t.Errorf("%s: mode %d, %q", name, got, got)
		}
	}
}

// TestModes checks that the mount table and the type of the file system agree on this machine.
func TestModes(t *testing.T) {
	h, err := Find(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if (h.Mode == V2) != IsV2() {
		t.Errorf("mode %s, IsV2 %t", h.Mode, IsV2())
	}
}

func TestFindNeedsProc(t *testing.T) {
	for _, missing := range []string{"proc/self/mountinfo", "proc/self/cgroup"} {
		files := node(mountsV1, cgroupsV1)
		delete(files, missing)
		if _, err := Find(files); err == nil {
			t.Errorf("no error without %s", missing)
		}
	}
}

func TestDir(t *testing.T) {
	for _, tt := range []struct {
		node               fstest.MapFS
		controller, cgroup string
		want               string // below /sys/fs/cgroup, "" for none
	}{
		{nodeV2, Unified, "/kubepods/abc", "kubepods/abc"},
		{nodeV2, Unified, "abc", "system.slice/abc"},
		{nodeV2, Unified, "kubepods.slice:cri-containerd:abc", "kubepods.slice/cri-containerd-abc.scope"},
		{nodeV2, "memory", "/abc", ""},
		{nodeV1, "memory", "/abc", "memory/abc"},
		{nodeV1, "memory", "abc", "memory/system.slice/containerd.service/abc"},
		{nodeV1, "cpuacct", "abc", "cpu,cpuacct/system.slice/abc"},
		{nodeV1, Unified, "/abc", ""},
		{nodeV1, "rdma", "/abc", ""},
		{nodeHybrid, "pids", "/abc", "pids/abc"},
		{nodeHybrid, Unified, "/abc", ""},
		{nodeV1OverV2, Unified, "/abc", ""},
		{nodeV2, Unified, "/../../etc", "etc"},
		{nodeV2, Unified, "../../../../etc", "etc"},
	} {
		h := find(t, tt.node)
		want := ""
		if tt.want != "" {
			want = path.Join(Root, tt.want)
		}
		if got := h.Dir(tt.controller, tt.cgroup); got != want {
			t.Errorf("Dir(%q, %q) = %q, want %q", tt.controller, tt.cgroup, got, want)
		}
	}
}

func FuzzDir(f *testing.F) {
	h := find(f, nodeV2)
	f.Add("a-b.slice:c:d")
	f.Add("../..")
	f.Add("-.slice")
	f.Fuzz(func(t *testing.T, cgroup string) {
		if got := h.Dir(Unified, cgroup); got != Root && !strings.HasPrefix(got, Root+"/") {
			t.Errorf("%q leads to %q", cgroup, got)
		}
	})
}
