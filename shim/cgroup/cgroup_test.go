// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree creates control files in a temporary directory and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func unifiedGroup(root string) *Group {
	return &Group{Paths: map[string]string{"": "/pod/web"}, root: root}
}

func legacyGroup(root string) *Group {
	g := &Group{Paths: map[string]string{}, root: root}
	for _, name := range []string{"freezer", "pids", "memory", "cpuacct", "cpu"} {
		g.Paths[name] = "/pod/web"
	}
	return g
}

func TestNewGroupSkipsSharedCgroups(t *testing.T) {
	g, err := newGroup("", map[string]string{"memory": "/pod/web", "freezer": "/", "pids": "/shims"},
		map[string]string{"memory": "/", "freezer": "/", "pids": "/shims"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"memory": "/pod/web"}, g.Paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/", "", "/shims/", "/pod/../shims"} {
		if _, err := newGroup("", map[string]string{"": path}, map[string]string{"": "/shims"}); !errdefs.IsNotFound(err) {
			t.Errorf("cgroup %q: %v, want not found", path, err)
		}
	}
}

func TestPlan(t *testing.T) {
	v1 := map[string]string{"memory": "/system.slice/lite", "cpu": "/"}
	v2 := map[string]string{"": "/system.slice/lite"}
	for _, tt := range []struct {
		ours map[string]string
		path string
		want map[string]string // nil for an error
	}{
		{v1, "/kubepods/pod1/abc", map[string]string{"memory": "/kubepods/pod1/abc", "cpu": "/kubepods/pod1/abc"}},
		{v2, "/kubepods/pod1/abc", map[string]string{"": "/kubepods/pod1/abc"}},
		// As in runc: on v1 below the shim's cgroup, on v2 next to it.
		{v1, "pod1/abc", map[string]string{"memory": "/system.slice/lite/pod1/abc", "cpu": "/pod1/abc"}},
		{v2, "pod1/abc", map[string]string{"": "/system.slice/pod1/abc"}},
		{v2, "/../../abc", map[string]string{"": "/abc"}},
		// The root and the shim's cgroup must never be removed.
		{v2, "/", nil},
		{v2, "/..", nil},
		{v2, "/system.slice/lite", nil},
	} {
		g, err := plan("", tt.path, tt.ours)
		if tt.want == nil {
			if !errdefs.IsNotFound(err) {
				t.Errorf("plan(%q) = %v, %v, want not found", tt.path, g, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("plan(%q): %v", tt.path, err)
			continue
		}
		if diff := cmp.Diff(tt.want, g.Paths); diff != "" {
			t.Errorf("plan(%q) (-want +got):\n%s", tt.path, diff)
		}
	}
}

func TestMakeAndRemove(t *testing.T) {
	for name, g := range map[string]*Group{"v2": unifiedGroup(t.TempDir()), "v1": legacyGroup(t.TempDir())} {
		for range 2 { // the second finds an existing cgroup
			if err := g.Make(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, dir := range g.dirs() {
			if _, err := os.Stat(dir); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		g.Remove()
		for _, dir := range g.dirs() {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s: %s still exists: %v", name, dir, err)
			}
			if _, err := os.Stat(filepath.Dir(dir)); err != nil {
				t.Errorf("%s: parent cgroup: %v", name, err)
			}
		}
	}
}

func TestOwnCgroupIsRefused(t *testing.T) {
	if _, err := os.Stat(cgroup.Root + "/cgroup.procs"); err != nil {
		if _, err := os.Stat(cgroup.Root + "/memory"); err != nil {
			t.Skip("no cgroups are mounted")
		}
	}
	if g, err := Of(os.Getpid()); !errdefs.IsNotFound(err) {
		t.Errorf("Of(self) = %v, %v, want not found", g, err)
	}
}

func TestGroupJSON(t *testing.T) {
	data, err := json.Marshal(legacyGroup("/elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	got := &Group{}
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if dir, err := got.dir("memory"); err != nil || dir != "/sys/fs/cgroup/memory/pod/web" {
		t.Errorf("directory = %q, %v", dir, err)
	}
	if _, err := got.dir("blkio"); !errdefs.IsNotFound(err) {
		t.Errorf("missing controller: %v, want not found", err)
	}
}

func TestPids(t *testing.T) {
	for name, g := range map[string]*Group{
		"v2": unifiedGroup(tree(t, map[string]string{
			"pod/web/cgroup.procs":      "3\n1\n",
			"pod/web/init/cgroup.procs": "2\n",
			"pod/cgroup.procs":          "9\n",
		})),
		"v1": legacyGroup(tree(t, map[string]string{
			"freezer/pod/web/cgroup.procs":   "3\n1\n",
			"freezer/pod/web/a/cgroup.procs": "2\n",
			"freezer/pod/cgroup.procs":       "9\n",
		})),
	} {
		pids, err := g.Pids()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(pids)
		if diff := cmp.Diff([]int{1, 2, 3}, pids); diff != "" {
			t.Errorf("%s: processes (-want +got):\n%s", name, diff)
		}
	}
	if pids, err := unifiedGroup(t.TempDir()).Pids(); err != nil || pids != nil {
		t.Errorf("cgroup that is gone: %v, %v", pids, err)
	}
}

func TestKill(t *testing.T) {
	root := tree(t, map[string]string{"pod/web/cgroup.kill": ""})
	if err := unifiedGroup(root).Kill(false); err != nil {
		t.Fatal(err)
	}
	if got := read(t, root, "pod/web/cgroup.kill"); got != "1" {
		t.Errorf("cgroup.kill = %q, want 1", got)
	}
	if err := unifiedGroup(t.TempDir()).Kill(false); err != nil {
		t.Errorf("cgroup that is gone: %v", err)
	}
}

func TestThawed(t *testing.T) {
	for _, test := range []struct {
		files map[string]string
		group func(string) *Group
		want  bool
	}{
		{map[string]string{"pod/web/cgroup.freeze": "0\n", "pod/web/cgroup.events": "populated 1\nfrozen 0\n"}, unifiedGroup, true},
		{map[string]string{"pod/web/cgroup.freeze": "1\n", "pod/web/cgroup.events": "populated 1\nfrozen 0\n"}, unifiedGroup, false},
		{map[string]string{"pod/web/cgroup.freeze": "0\n", "pod/web/cgroup.events": "populated 1\nfrozen 1\n"}, unifiedGroup, false},
		{nil, unifiedGroup, false},
		{map[string]string{"freezer/pod/web/freezer.state": "THAWED\n"}, legacyGroup, true},
		{map[string]string{"freezer/pod/web/freezer.state": "FREEZING\n"}, legacyGroup, false},
		{map[string]string{"freezer/pod/web/freezer.state": "FROZEN\n"}, legacyGroup, false},
		{nil, legacyGroup, false},
	} {
		if got := test.group(tree(t, test.files)).Thawed(); got != test.want {
			t.Errorf("%v: thawed %t, want %t", test.files, got, test.want)
		}
	}
}

// TestKillEach kills processes one by one, as before Linux 5.14 and on v1.
func TestKillEach(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"v2": {
			"pod/web/cgroup.procs": "", "pod/web/cgroup.freeze": "",
			"pod/web/cgroup.events": "populated 1\nfrozen 1\n",
		},
		"v1": {"freezer/pod/web/cgroup.procs": "", "freezer/pod/web/freezer.state": ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			root, g, thawed := tree(t, files), (*Group)(nil), ""
			if name == "v2" {
				g, thawed = unifiedGroup(root), "pod/web/cgroup.freeze"
			} else {
				g, thawed = legacyGroup(root), "freezer/pod/web/freezer.state"
			}
			procs := filepath.Join(g.dirs()[0], "cgroup.procs")
			if err := os.WriteFile(procs, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
				t.Fatal(err)
			}
			// Kill polls freezer.state and reads the value that it wrote.
			if err := g.Kill(false); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("process was not killed")
			}
			if got := read(t, root, thawed); got != "0" && got != "THAWED" {
				t.Errorf("%s = %q, want thawed", thawed, got)
			}
		})
	}
}

func TestStats(t *testing.T) {
	root := tree(t, map[string]string{
		"pod/web/cpu.stat":       "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n",
		"pod/web/memory.stat":    "anon 4096\n",
		"pod/web/memory.current": "8192\n",
		"pod/web/memory.max":     "max\n",
		"pod/web/memory.events":  "oom 1\noom_kill 2\n",
		"pod/web/pids.current":   "3\n",
		"pod/web/pids.max":       "max\n",
	})
	stats, err := unifiedGroup(root).Stats()
	if err != nil {
		t.Fatal(err)
	}
	if stats.TypeUrl != "io.containerd.cgroups.v2.Metrics" {
		t.Errorf("type = %s", stats.TypeUrl)
	}
	got := &v2.Metrics{}
	if err := stats.UnmarshalTo(got); err != nil {
		t.Fatal(err)
	}
	if got.CPU.UsageUsec != 1000 || got.Memory.Usage != 8192 || got.MemoryEvents.OomKill != 2 || got.Pids.Current != 3 {
		t.Errorf("metrics = %v", got)
	}
	if _, err := unifiedGroup(t.TempDir()).Stats(); !errdefs.IsNotFound(err) {
		t.Errorf("cgroup that is gone: %v, want not found", err)
	}
}

func TestStatsLegacy(t *testing.T) {
	root := tree(t, map[string]string{
		"freezer/pod/web/cgroup.procs":             "",
		"pids/pod/web/pids.current":                "3\n",
		"pids/pod/web/pids.max":                    "max\n",
		"memory/pod/web/memory.stat":               "cache 1\nrss 2\n",
		"memory/pod/web/memory.usage_in_bytes":     "8192\n",
		"memory/pod/web/memory.max_usage_in_bytes": "9000\n",
		"memory/pod/web/memory.failcnt":            "0\n",
		"memory/pod/web/memory.limit_in_bytes":     "10000\n",
		"memory/pod/web/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"cpuacct/pod/web/cpuacct.usage":            "1000\n",
		"cpuacct/pod/web/cpuacct.usage_percpu":     "400 600\n",
		"cpuacct/pod/web/cpuacct.stat":             "user 1\nsystem 2\n",
		"cpu/pod/web/cpu.stat":                     "nr_periods 0\n",
	})
	stats, err := legacyGroup(root).Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := &v1.Metrics{}
	if err := stats.UnmarshalTo(got); err != nil {
		t.Fatal(err)
	}
	if got.Pids.Current != 3 || got.Memory.Usage.Usage != 8192 || got.MemoryOomControl.OomKill != 2 || got.CPU.Usage.Total != 1000 {
		t.Errorf("metrics = %v", got)
	}
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "pod/web/a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	unifiedGroup(root).Remove()
	if _, err := os.Stat(filepath.Join(root, "pod/web")); !os.IsNotExist(err) {
		t.Errorf("cgroup still exists: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "pod")); err != nil {
		t.Errorf("parent cgroup: %v", err)
	}
}
