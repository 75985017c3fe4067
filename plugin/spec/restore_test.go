// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestRestore(t *testing.T) {
	limited := &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Quota: new(int64(1000)), Period: new(uint64(5000)), Shares: new(uint64(2)), Cpus: "0"},
		Memory:  &specs.LinuxMemory{Limit: new(int64(1000)), Swap: new(int64(1000))},
		Unified: map[string]string{"memory.high": "900", "memory.low": "1", "cpu.weight": "7", "io.max": "8:0 rbps=1", "pids.max": "5"},
	}
	free := &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Quota: new(int64(-1)), Period: new(uint64(100000)), Shares: new(uint64(1024))},
		Memory:  &specs.LinuxMemory{Limit: new(int64(-1)), Swap: new(int64(-1))},
		Unified: map[string]string{"memory.high": "max", "memory.low": "0", "pids.max": "max"},
	}
	higher := &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Quota: new(int64(2000)), Shares: new(uint64(3)), Cpus: "1"},
		Memory:  &specs.LinuxMemory{Limit: new(int64(2000)), Swap: new(int64(3000))},
		Unified: map[string]string{"memory.high": "1900"},
	}
	// Unified must not set a control file that a field sets, because it would override the field.
	swapping := &specs.LinuxResources{
		CPU: &specs.LinuxCPU{}, Memory: limited.Memory,
		Unified: map[string]string{"memory.swap.max": "10", "memory.max": "1000", "cpu.max": "1 2"},
	}
	fixed := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: limited.Memory}
	stillFixed := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: limited.Memory, Unified: map[string]string{"cpu.max": "max"}}
	for name, c := range map[string]struct{ current, updated, want *specs.LinuxResources }{
		"from limits to others": {limited, higher, limited},
		"from none at all":      {nil, limited, free},
		"from none":             {&specs.LinuxResources{}, limited, free},
		"to none":               {limited, &specs.LinuxResources{}, limited},
		"from fields to files":  {fixed, swapping, stillFixed},
	} {
		got, err := Restore(c.current, c.updated)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
