// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestCountProcesses includes cgroups that an init system in a container has created.
func TestCountProcesses(t *testing.T) {
	many := tree{"cgroup.procs": "1\n"}
	for i := range maxCgroups {
		many[fmt.Sprintf("%d/cgroup.procs", i)] = "2\n"
	}
	tests := []struct {
		name  string
		files tree
		want  num
	}{
		{"none", tree{"cgroup.procs": ""}, value(0)},
		{"one", tree{"cgroup.procs": "1\n"}, value(1)},
		{"in cgroups below", tree{
			"cgroup.procs": "", "init.scope/cgroup.procs": "1\n",
			"system.slice/cgroup.procs": "", "system.slice/a.service/cgroup.procs": "7\n8\n", "system.slice/b.service/cgroup.procs": "9\n",
		}, value(4)},
		{"too many processes", tree{"cgroup.procs": "1\n", "a/cgroup.procs": strings.Repeat("4194303\n", maxFile/8+1)}, nil},
		{"too many cgroups", many, nil},
		{"no cgroup", nil, nil},
	}
	for _, tt := range tests {
		for version, machine := range map[string]tree{
			"v2": machineV2.with(tt.files.below("sys/fs/cgroup/abc")),
			"v1": machineV1.with(tt.files.below("sys/fs/cgroup/pids/abc")),
		} {
			got := machine.reader(t).countProcesses("/abc")
			if d := cmp.Diff(tt.want, got, protocmp.Transform()); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", tt.name, version, d)
			}
		}
	}
}
