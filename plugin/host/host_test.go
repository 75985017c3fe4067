// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// tree returns a root filesystem with files of these names and contents, an OOM score of the daemon
// and a boot id.
func tree(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{
		"proc/self/oom_score_adj":        {Data: []byte("-999\n")},
		"proc/sys/kernel/random/boot_id": {Data: []byte("first\n")},
	}
	for name, content := range files {
		root[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return root
}

func v2Tree(own string) map[string]string {
	return map[string]string{
		"proc/self/mountinfo": "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n" +
			"30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
		"proc/self/cgroup":                 "0::" + own + "\n",
		"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids\n",
	}
}

func hybridTree() map[string]string {
	return map[string]string{
		"proc/self/mountinfo": "30 24 0:25 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n" +
			"31 30 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n" +
			"32 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
		"proc/self/cgroup": "3:cpu,cpuacct:/a\n2:memory:/a\n1:name=systemd:/a\n0::/a\n",
		"sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "1",
	}
}

func TestCgroups(t *testing.T) {
	v2 := Cgroups{
		Mode:         cgroup.V2,
		Controllers:  []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"},
		Hugetlb:      true,
		mountOptions: []string{"nsdelegate", "memory_recursiveprot"},
	}
	withSwap := v2
	withSwap.Swap = true
	for _, c := range []struct {
		name  string
		files map[string]string
		extra string
		want  Cgroups
	}{
		{"v2 without swap", v2Tree("/system.slice/d.service"), "", v2},
		{"v2 with swap", v2Tree("/system.slice/d.service"), "sys/fs/cgroup/system.slice/d.service/memory.swap.max", withSwap},
		{"v2 in the root cgroup", v2Tree("/"), "sys/fs/cgroup/init.scope/memory.swap.max", withSwap},
		{"hybrid", hybridTree(), "", Cgroups{Mode: cgroup.Hybrid, Controllers: []string{"cpu", "cpuacct", "memory"}, Swap: true}},
		{"v1", map[string]string{
			"proc/self/mountinfo": "30 24 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n",
			"proc/self/cgroup":    "2:memory:/\n",
		}, "sys/fs/cgroup/hugetlb/tasks", Cgroups{Mode: cgroup.V1, Controllers: []string{"memory"}, Hugetlb: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(c.files)
			if c.extra != "" {
				root[c.extra] = &fstest.MapFile{}
			}
			f, err := readFiles(root)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.Cgroups, cmp.AllowUnexported(Cgroups{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if f.BootID != "first" {
				t.Errorf("boot id %q", f.BootID)
			}
			want := spec.Facts{
				CgroupV2:           c.want.Mode == cgroup.V2,
				CgroupMountOptions: c.want.mountOptions,
				SwapController:     c.want.Swap,
				Hugetlb:            c.want.Hugetlb,
				OOMScoreAdj:        -999,
			}
			if diff := cmp.Diff(want, f.Facts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("facts, -want +got:\n%s", diff)
			}
		})
	}
}

func TestCgroupsMissing(t *testing.T) {
	_, err := readFiles(tree(map[string]string{"proc/self/mountinfo": "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n"}))
	if !errdefs.IsFailedPrecondition(err) {
		t.Errorf("error %v, want class FailedPrecondition", err)
	}
	for _, missing := range []string{"proc/self/mountinfo", "proc/self/cgroup", "proc/self/oom_score_adj", "sys/fs/cgroup/cgroup.controllers"} {
		root := tree(v2Tree("/"))
		delete(root, missing)
		if _, err := readFiles(root); err == nil {
			t.Errorf("no error without %s", missing)
		}
	}
	bad := tree(v2Tree("/"))
	bad["proc/self/oom_score_adj"] = &fstest.MapFile{Data: []byte("many")}
	if _, err := readFiles(bad); err == nil {
		t.Error("no error for a score that is not a number")
	}
}

// TestRead checks only facts that exist on any machine.
func TestRead(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		t.Skipf("this machine has no cgroups: %v", err)
	}
	f, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.MaskedPaths, "/proc/kcore") || !slices.Contains(f.ReadonlyPaths, "/proc/sys") {
		t.Errorf("masked %v, read-only %v", f.MaskedPaths, f.ReadonlyPaths)
	}
	if f.Cgroups.Mode == 0 || len(f.Cgroups.Controllers) == 0 {
		t.Errorf("facts %+v", f)
	}
	if os.Geteuid() == 0 && !slices.Contains(f.Capabilities, "CAP_CHOWN") {
		t.Errorf("root has capabilities %v", f.Capabilities)
	}
	t.Logf("%+v", f)
}

func TestRuntimeFeatures(t *testing.T) {
	on := true
	runc := &features.Features{
		OCIVersionMax: "1.2.1",
		MountOptions:  []string{"ro", "rro"},
		Linux: &features.Linux{
			Namespaces:      []string{"user"},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &on}},
		},
	}
	old := &features.Features{OCIVersionMax: "1.0.2", Linux: &features.Linux{Namespaces: []string{"user"}}}
	modern, ancient := Facts{kernelRRO: true}, Facts{}

	if f := modern.For(runc); f.OCIVersion != "1.2.1" || !f.RecursiveReadOnly {
		t.Errorf("modern kernel, runc: %+v", f)
	}
	if ancient.For(runc).RecursiveReadOnly || modern.For(old).RecursiveReadOnly || modern.For(nil).RecursiveReadOnly {
		t.Error("rro needs both kernel and runtime")
	}
	if h := modern.Features(runc); !h.RecursiveReadOnlyMounts || !h.UserNamespaces {
		t.Errorf("features of runc: %v", h)
	}
	if h := modern.Features(old); h.RecursiveReadOnlyMounts || h.UserNamespaces {
		t.Errorf("features of an old runtime: %v", h)
	}
	if h := modern.Features(nil); h != nil {
		t.Errorf("features of a runtime without a features command: %v", h)
	}
}
