// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/internal/cgrouppath"
)

func TestDir(t *testing.T) {
	tests := []struct {
		machine            tree
		controller, cgroup string
		want               string // below /sys/fs/cgroup, "" for none
	}{
		{machineV2, unified, "/kubepods/abc", "kubepods/abc"},
		{machineV2, unified, "abc", "system.slice/abc"},
		{machineV2, "memory", "/abc", ""},
		{machineV1, "memory", "/abc", "memory/abc"},
		{machineV1, "memory", "abc", "memory/system.slice/containerd.service/abc"},
		{machineV1, "cpuacct", "abc", "cpu,cpuacct/system.slice/abc"},
		{machineV1, unified, "/abc", ""},
		{machineV1, "rdma", "/abc", ""},
		{hybrid, "pids", "/abc", "pids/abc"},
		{hybrid, unified, "/abc", ""},
		{machineV2, unified, "/../../etc", "etc"},
		{machineV2, unified, "../../../../etc", "etc"},
	}
	for _, tt := range tests {
		r := tt.machine.reader(t)
		got := r.cgroups.dir(tt.controller, tt.cgroup)
		_, below, _ := strings.Cut(got, "sys/fs/cgroup")
		if want := filepath.Clean("/" + tt.want); got == "" && tt.want != "" || got != "" && below != want {
			t.Errorf("dir(%q, %q) = %q, want %q", tt.controller, tt.cgroup, got, tt.want)
		}
	}
}

func FuzzDir(f *testing.F) {
	r := machineV2.reader(f)
	top := r.cgroups.dir(unified, "/")
	f.Add("a-b.slice:c:d")
	f.Add("../..")
	f.Add("-.slice")
	f.Fuzz(func(t *testing.T, cgroup string) {
		got := r.cgroups.dir(unified, cgrouppath.Expand(cgroup))
		if got != top && !strings.HasPrefix(got, top+"/") {
			t.Errorf("%q leads to %q", cgroup, got)
		}
	})
}
