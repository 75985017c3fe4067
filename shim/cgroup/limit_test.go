// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestReclaim(t *testing.T) {
	root := tree(t, map[string]string{"pod/web/memory.current": "104857600\n", "pod/web/memory.reclaim": ""})
	group := unifiedGroup(root)
	for _, limit := range []int64{0, -1, 128 << 20} {
		if err := group.Reclaim(limit); err != nil || read(t, root, "pod/web/memory.reclaim") != "" {
			t.Errorf("limit %d: %v, %q reclaimed, want nothing", limit, err, read(t, root, "pod/web/memory.reclaim"))
		}
	}
	if err := group.Reclaim(64 << 20); err != nil {
		t.Fatal(err)
	}
	// 60 MiB, one sixteenth below the limit.
	if got, want := read(t, root, "pod/web/memory.reclaim"), "41943040"; got != want {
		t.Errorf("%s reclaimed, want %s", got, want)
	}
	if err := legacyGroup(t.TempDir()).Reclaim(1); err != nil {
		t.Errorf("v1: %v", err)
	}
	if err := unifiedGroup(tree(t, map[string]string{"pod/web/memory.current": "9\n"})).Reclaim(1); err == nil {
		t.Error("before Linux 5.19: no error")
	}
}

func TestLimitBelowUsageIsRefused(t *testing.T) {
	group := unifiedGroup(tree(t, map[string]string{"pod/web/memory.current": "1000\n"}))
	for limit, fits := range map[int64]bool{1001: true, 1000: false, 999: false, 0: true, -1: true} {
		if err := group.Fits(limit); (err == nil) != fits || err != nil && !errdefs.IsFailedPrecondition(err) {
			t.Errorf("limit %d with 1000 bytes in use: %v", limit, err)
		}
	}
	if err := legacyGroup(t.TempDir()).Fits(1); err != nil {
		t.Errorf("v1: %v", err)
	}
}

func withHugetlb(root string) *Group {
	g := legacyGroup(root)
	g.Paths["hugetlb"] = "/pod/web"
	return g
}

func TestLimitHugepages(t *testing.T) {
	limits := []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}, {Pagesize: "1GB", Limit: 0}}
	v2 := map[string]string{"pod/web/hugetlb.2MB.max": "", "pod/web/hugetlb.2MB.rsvd.max": "", "pod/web/hugetlb.1GB.max": ""}
	v1 := map[string]string{"hugetlb/pod/web/hugetlb.2MB.limit_in_bytes": "", "hugetlb/pod/web/hugetlb.1GB.limit_in_bytes": ""}
	for _, c := range []struct {
		files map[string]string
		group func(root string) *Group
		want  map[string]string
	}{
		{v2, unifiedGroup, map[string]string{
			"pod/web/hugetlb.2MB.max": "4194304", "pod/web/hugetlb.2MB.rsvd.max": "4194304", "pod/web/hugetlb.1GB.max": "0",
		}},
		{v1, withHugetlb, map[string]string{
			"hugetlb/pod/web/hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb/pod/web/hugetlb.1GB.limit_in_bytes": "0",
		}},
	} {
		root := tree(t, c.files)
		if err := c.group(root).LimitHugepages(limits); err != nil {
			t.Fatal(err)
		}
		for file, want := range c.want {
			if got := read(t, root, file); got != want {
				t.Errorf("%s: %q, want %q", file, got, want)
			}
		}
	}
	if err := unifiedGroup(tree(t, nil)).LimitHugepages(limits); err == nil {
		t.Error("no error without the controller")
	}
}
