// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePaths(t *testing.T) {
	paths := parsePaths("12:freezer:/a\n4:cpu,cpuacct:/b:c\n1:name=systemd:/d\n0::/e\n")
	want := Paths{"freezer": "/a", "cpu": "/b:c", "cpuacct": "/b:c", "name=systemd": "/d", "": "/e"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	want = Paths{"freezer": "/a", "cpu": "/b:c", "cpuacct": "/b:c"}
	if diff := cmp.Diff(want, paths.of([]string{"freezer", "cpu", "cpuacct", "memory"})); diff != "" {
		t.Errorf("v1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Paths{"": "/e"}, paths.of([]string{Unified})); diff != "" {
		t.Errorf("v2 (-want +got):\n%s", diff)
	}
	if got := parsePaths("nonsense\n\n7:\n"); len(got) != 0 {
		t.Errorf("nonsense: %v", got)
	}
}
