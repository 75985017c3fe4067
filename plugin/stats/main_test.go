// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is the content of a root directory: files by path.
type tree map[string]string

// link is the prefix of a content that is the target of a symbolic link.
const link = "-> "

// below returns the tree moved into a directory.
func (t tree) below(dir string) tree {
	moved := tree{}
	for name, content := range t {
		moved[filepath.Join(dir, name)] = content
	}
	return moved
}

func (t tree) with(others ...tree) tree {
	all := tree{}
	for _, part := range append(others, t) {
		for name, content := range part {
			all[name] = content
		}
	}
	return all
}

// reader writes a tree to disk and returns a Reader of it.
func (t tree) reader(tb testing.TB) *Reader {
	tb.Helper()
	root := tb.TempDir()
	for name, content := range t {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, link); ok {
			if err := os.Symlink(target, file); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	r, err := NewReader(root)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// The cgroup mounts and the daemon's cgroup on nodes with cgroup v2, v1 and both.
var (
	machineV2 = tree{
		"proc/self/mountinfo": "22 20 0:21 / /proc rw - proc proc rw\n" +
			"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
		"proc/self/cgroup": "0::/system.slice/containerd.service\n",
	}
	machineV1 = tree{
		"proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n" +
			"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"36 31 0:33 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
			"37 31 0:34 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n" +
			"39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
		"proc/self/cgroup": "9:pids:/system.slice/containerd.service\n4:memory:/system.slice/containerd.service\n" +
			"2:cpu,cpuacct:/system.slice\n1:name=systemd:/system.slice/containerd.service\n",
	}
	hybrid = tree{
		"proc/self/mountinfo": machineV1["proc/self/mountinfo"] +
			"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
		"proc/self/cgroup": machineV1["proc/self/cgroup"] + "0::/system.slice/containerd.service\n",
	}
)

var usageV2 = Usage{
	CPU: &runtimeapi.CpuUsage{
		UsageCoreNanoSeconds: value(2500000000),
		Psi: &runtimeapi.PsiStats{
			Some: &runtimeapi.PsiData{Total: 1234000, Avg10: 1.5, Avg60: 0.25, Avg300: 0.05},
			Full: &runtimeapi.PsiData{},
		},
	},
	Memory: &runtimeapi.MemoryUsage{
		UsageBytes:      value(32 << 20),
		WorkingSetBytes: value(20 << 20),
		AvailableBytes:  value(44 << 20),
		RssBytes:        value(8 << 20),
		PageFaults:      value(4242),
		MajorPageFaults: value(17),
		Psi:             &runtimeapi.PsiStats{Some: &runtimeapi.PsiData{Total: 5000}, Full: &runtimeapi.PsiData{Total: 3000}},
	},
	Swap: &runtimeapi.SwapUsage{SwapUsageBytes: value(4096), SwapAvailableBytes: value(1<<20 - 4096)},
	IO: &runtimeapi.IoUsage{Psi: &runtimeapi.PsiStats{
		Some: &runtimeapi.PsiData{Total: 7000, Avg10: 0.1, Avg60: 0.2, Avg300: 0.3},
		Full: &runtimeapi.PsiData{Total: 6000, Avg10: 0.01, Avg60: 0.02, Avg300: 0.03},
	}},
}

// usageV1 is usageV2 without pressure, which cgroup v1 does not measure.
func usageV1() Usage {
	memory := proto.CloneOf(usageV2.Memory)
	memory.Psi = nil
	return Usage{
		CPU:    &runtimeapi.CpuUsage{UsageCoreNanoSeconds: value(2500000000)},
		Memory: memory,
		Swap:   usageV2.Swap,
	}
}

// diff compares without timestamps.
func diff(want, got any) string {
	options := cmp.Options{protocmp.Transform()}
	for _, message := range []proto.Message{
		new(runtimeapi.CpuUsage), new(runtimeapi.MemoryUsage), new(runtimeapi.SwapUsage), new(runtimeapi.IoUsage),
		new(runtimeapi.ProcessUsage), new(runtimeapi.NetworkUsage), new(runtimeapi.FilesystemUsage),
	} {
		options = append(options, protocmp.IgnoreFields(message, "timestamp"))
	}
	return cmp.Diff(want, got, options)
}
