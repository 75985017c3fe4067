// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestUsage(t *testing.T) {
	const path = "/kubepods/burstable/pod1/abc"
	v2 := machineV2.with(cgroupV2.below("sys/fs/cgroup" + path))
	tests := []struct {
		name    string
		machine tree
		want    Usage
	}{
		{"v2", v2, usageV2},
		{"v1", machineV1.with(cgroupV1(path)), usageV1()},
		{"hybrid", hybrid.with(cgroupV1(path)), usageV1()},
		{"no such cgroup", machineV2, Usage{}},
		{"no cgroups at all", tree{"proc/self/mountinfo": "", "proc/self/cgroup": ""}, Usage{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := diff(tt.want, tt.machine.reader(t).Usage(path)); d != "" {
				t.Errorf("usage (-want +got):\n%s", d)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	r := machineV2.with(cgroupV2.below("sys/fs/cgroup/abc")).reader(t)
	before := time.Now().UnixNano()
	u := r.Usage("/abc")
	after := time.Now().UnixNano()
	for what, at := range map[string]int64{
		"CPU": u.CPU.Timestamp, "memory": u.Memory.Timestamp, "swap": u.Swap.Timestamp, "IO": u.IO.Timestamp,
	} {
		if at < before || at > after {
			t.Errorf("%s has timestamp %d, want %d to %d", what, at, before, after)
		}
	}
}

// TestMissingFileOmitsItsUsage checks that a missing file leaves out its own values only.
func TestMissingFileOmitsItsUsage(t *testing.T) {
	tests := []struct {
		name  string
		files tree
		want  Usage
	}{
		{"no PSI", tree{"cpu.stat": "usage_usec 1\n", "memory.current": "5\n", "memory.stat": "anon 1\n"}, Usage{
			CPU:    &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(1000)},
			Memory: &runtimeapi.MemoryUsage{UsageBytes: value(5), RssBytes: value(1)},
		}},
		{"no limit", tree{"memory.current": "5\n", "memory.max": "max\n", "memory.stat": "inactive_file 2\n", "memory.swap.current": "0\n", "memory.swap.max": "max\n"}, Usage{
			Memory: &runtimeapi.MemoryUsage{UsageBytes: value(5), WorkingSetBytes: value(3)},
			Swap:   &runtimeapi.SwapUsage{SwapUsageBytes: value(0)},
		}},
		{"never below zero", tree{"memory.current": "5\n", "memory.max": "4\n", "memory.stat": "inactive_file 9\n", "memory.swap.current": "9\n", "memory.swap.max": "0\n"}, Usage{
			Memory: &runtimeapi.MemoryUsage{UsageBytes: value(5), WorkingSetBytes: value(0), AvailableBytes: value(4)},
			Swap:   &runtimeapi.SwapUsage{SwapUsageBytes: value(9), SwapAvailableBytes: value(0)},
		}},
		{"nonsense", tree{"cpu.pressure/huh": "", "memory.current": "\n", "cpu.stat": "usage_usec\n", "io.pressure": "huh\n"}, Usage{
			IO: &runtimeapi.IoUsage{Psi: &runtimeapi.PsiStats{}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := machineV2.with(tt.files.below("sys/fs/cgroup/abc")).reader(t)
			if d := diff(tt.want, r.Usage("/abc")); d != "" {
				t.Errorf("usage (-want +got):\n%s", d)
			}
		})
	}
}

// TestUsageV1Unlimited checks that no available memory is reported without a limit, whether the
// hierarchical limit or only the cgroup's own limit is unlimited.
func TestUsageV1Unlimited(t *testing.T) {
	const most = "9223372036854771712\n"
	const dir = "sys/fs/cgroup/memory/abc/"
	stat := cgroupV1("/abc")[dir+"memory.stat"]
	tests := []struct {
		name  string
		files tree
	}{
		{"neither", tree{
			dir + "memory.stat": stat + "hierarchical_memory_limit " + most + "hierarchical_memsw_limit " + most,
		}},
		{"of a parent only", tree{
			dir + "memory.stat":                 stat + "hierarchical_memory_limit 4096\nhierarchical_memsw_limit 4096\n",
			dir + "memory.limit_in_bytes":       most,
			dir + "memory.memsw.limit_in_bytes": most,
		}},
	}
	for _, tt := range tests {
		got := machineV1.with(cgroupV1("/abc"), tt.files).reader(t).Usage("/abc")
		if got.Memory.AvailableBytes != nil || got.Swap.SwapAvailableBytes != nil {
			t.Errorf("limit %s: available memory %v, swap %v, want none", tt.name, got.Memory.AvailableBytes, got.Swap.SwapAvailableBytes)
		}
	}
}

func TestOOMKilled(t *testing.T) {
	const events = "memory.events"
	killed := cgroupV2.below("sys/fs/cgroup/abc")
	alive := tree{events: "max 12\noom 1\noom_kill 0\noom_group_kill 0\n"}.below("sys/fs/cgroup/abc")
	aliveV1 := tree{"memory.oom_control": "oom_kill_disable 0\nunder_oom 1\noom_kill 0\n"}.below("sys/fs/cgroup/memory/abc")
	tests := []struct {
		name          string
		machine       tree
		killed, known bool
	}{
		{"v2 killed", machineV2.with(killed), true, true},
		{"v2 alive", machineV2.with(alive), false, true},
		{"v2 removed", machineV2, false, false},
		{"v1 killed", machineV1.with(cgroupV1("/abc")), true, true},
		{"hybrid killed", hybrid.with(cgroupV1("/abc")), true, true},
		{"v1 alive", machineV1.with(aliveV1), false, true},
		{"v1 kernel before 4.13", machineV1.with(tree{"memory.oom_control": "under_oom 1\n"}.below("sys/fs/cgroup/memory/abc")), false, false},
	}
	for _, tt := range tests {
		if killed, known := tt.machine.reader(t).OOMKilled("/abc"); killed != tt.killed || known != tt.known {
			t.Errorf("%s: killed %v, known %v, want %v, %v", tt.name, killed, known, tt.killed, tt.known)
		}
	}
}

// TestUsageOfARealCgroup reads a cgroup that the test creates, in which a process is killed because
// memory is exhausted.
func TestUsageOfARealCgroup(t *testing.T) {
	r, err := NewReader("/")
	if err != nil {
		t.Fatal(err)
	}
	name := "/containerd-lite-test-" + strconv.Itoa(os.Getpid())
	controllers := []string{unified}
	if !r.isV2() {
		controllers = []string{"cpuacct", "memory", "pids"}
	}
	var join []string
	for _, controller := range controllers {
		dir := r.dir(controller, name)
		if dir == "" {
			t.Skipf("no cgroup controller %q is mounted", controller)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("cgroups cannot be created: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		join = append(join, "echo 0 > "+dir+"/cgroup.procs")
	}
	if !limitMemory(t, r, name, 16<<20) {
		t.Skip("the cgroup has no memory limit: its controller is not enabled")
	}
	if killed, _ := r.OOMKilled(name); killed {
		t.Error("a process was killed in a new cgroup")
	}
	// The shell itself is not in the cgroup. Its subshell doubles a string until it is killed.
	script := "(" + strings.Join(join, " && ") + ` && s=x; while :; do s="$s$s"; done)`
	if err := exec.Command("sh", "-c", script).Run(); err == nil {
		t.Fatal("the process was not killed")
	}
	if killed, _ := r.OOMKilled(name); !killed {
		t.Error("no process was killed, want an OOM kill")
	}
	got := r.Usage(name)
	if got.CPU.GetUsageCoreNanoSeconds().GetValue() == 0 || got.Memory.GetPageFaults().GetValue() == 0 || got.Memory.WorkingSetBytes == nil {
		t.Errorf("usage %+v, want CPU time, page faults and a working set", got)
	}
	if n := r.countProcesses(name); n == nil || n.Value != 0 {
		t.Errorf("%v processes, want 0", n)
	}
}

func limitMemory(t *testing.T, r *Reader, cgroup string, limit uint64) bool {
	t.Helper()
	for controller, files := range map[string][]string{
		unified:  {"memory.max", "memory.swap.max"},
		"memory": {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"},
	} {
		dir := r.dir(controller, cgroup)
		if dir == "" {
			continue
		}
		for i, file := range files {
			err := os.WriteFile(filepath.Join(dir, file), strconv.AppendUint(nil, limit, 10), 0)
			if err != nil && i == 0 {
				return false
			}
		}
	}
	return true
}

func BenchmarkUsage(b *testing.B) {
	r := machineV2.with(cgroupV2.below("sys/fs/cgroup/abc")).reader(b)
	b.ReportAllocs()
	for b.Loop() {
		if u := r.Usage("/abc"); u.Swap == nil {
			b.Fatal("no usage")
		}
	}
}
