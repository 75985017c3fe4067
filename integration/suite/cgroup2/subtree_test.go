// SPDX-License-Identifier: Apache-2.0

package cgroup2

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// namespace checks that a container sees its own cgroup as the root, and cannot write to it.
func namespace(t *testing.T, b bench) {
	p := b.pod(t, "namespace", "", func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	id := p.run(t, "main", sleep, nil)
	equal(t, "own cgroup", b.in(t, id, "cat /proc/1/cgroup"), "0::/")
	if got := b.in(t, id, "mkdir /sys/fs/cgroup/sub 2>&1"); !strings.Contains(got, "Read-only") {
		t.Errorf("create a cgroup below the container's: %q, want a read-only file system", got)
	}
	privileged := p.run(t, "privileged", sleep, func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.Privileged = true })
	want := strings.TrimPrefix(b.group(t, privileged), cgroupRoot)
	equal(t, "own cgroup of a privileged container", b.in(t, privileged, "cat /proc/1/cgroup"), "0::"+want)
	// The mount also has the options of the host's.
	equal(t, "nsdelegate of the host", strings.Contains(mountOptions(t), "nsdelegate"),
		strings.Contains(b.in(t, privileged, "grep ' /sys/fs/cgroup ' /proc/mounts"), "nsdelegate"))
}

func mountOptions(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if words := strings.Fields(line); len(words) > 3 && words[1] == cgroupRoot {
			return words[3]
		}
	}
	return ""
}

// delegate creates a cgroup for itself and one with a limit below the container's own.
const delegate = `set -e
cd /sys/fs/cgroup
mkdir init job
echo $$ >init/cgroup.procs
echo +memory >cgroup.subtree_control
echo 16777216 >job/memory.max
echo 0 >job/memory.swap.max || :
touch /made
exec sleep 1000`

// subtree lets a container with cgroup_writable divide its cgroup. The container cannot change its
// own limits, execs and kills reach all of the subtree, and nothing of it is left behind.
func subtree(t *testing.T, b bench) {
	p := b.pod(t, "subtree", harness.HandlerWritable, nil)
	id := p.run(t, "main", delegate, withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 * mib}))
	b.await(t, id, "test -e /made")
	group := b.group(t, id)
	files(t, group, map[string]string{"job/memory.max": "16777216", "memory.max": "67108864"})
	if strings.Contains(mountOptions(t), "nsdelegate") {
		if got := b.in(t, id, "echo max 2>&1 >/sys/fs/cgroup/memory.max"); !strings.Contains(got, "denied") && !strings.Contains(got, "permitted") {
			t.Errorf("write to the container's own limit: %q, want a refusal", got)
		}
	}
	equal(t, "processes", b.processes(t, id), "1")
	// An out-of-memory kill in a cgroup that the container created is not reported as the
	// container's.
	b.in(t, id, "echo $$ >/sys/fs/cgroup/job/cgroup.procs; exec "+hungry)
	if got := events(t, group, "oom_kill"); got != 1 {
		t.Errorf("%d kills, want 1", got)
	}
	if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	// The task is deleted after the stop has returned.
	err := harness.Await(t.Context(), func() error {
		if has(group, "") {
			return errors.New("the container's cgroup still exists")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// subtreeUserNS checks that in a user namespace the container's root owns the cgroup.
func subtreeUserNS(t *testing.T, b bench) {
	mapping := []*runtimeapi.IDMapping{{HostId: 200000, ContainerId: 0, Length: 65536}}
	p := b.pod(t, "usersubtree", harness.HandlerWritable, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_POD
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{
			Mode: runtimeapi.NamespaceMode_POD, Uids: mapping, Gids: mapping,
		}
	})
	id := p.run(t, "main", delegate, nil)
	b.await(t, id, "test -e /made")
	var info unix.Stat_t
	if err := unix.Stat(filepath.Join(b.group(t, id), "job"), &info); err != nil {
		t.Fatal(err)
	}
	equal(t, "owner of a cgroup created by the container", info.Uid, 200000)
}

// processes returns the number of processes in the statistics of a container's pod.
func (b bench) processes(t *testing.T, container string) string {
	t.Helper()
	answer, err := b.ListPodSandboxStats(t.Context(), &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range answer.Stats {
		for _, c := range s.GetLinux().GetContainers() {
			if c.Attributes.Id == container {
				return strconv.FormatUint(s.Linux.Process.GetProcessCount().GetValue(), 10)
			}
		}
	}
	return "none"
}

// events returns a value of memory.events.
func events(t *testing.T, group, key string) int {
	t.Helper()
	for line := range strings.Lines(file(t, group, "memory.events")) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == key {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("memory.events has no %s", key)
	return 0
}

// kill stops a container without a PID namespace of its own: its processes do not exit with its
// init.
func kill(t *testing.T, b bench) {
	p := b.pod(t, "kill", "", func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_NODE
	})
	id := p.run(t, "main", "sleep 1000 & sh -c 'sleep 1000 & sleep 1000' & touch /up; wait", nil)
	b.await(t, id, "test -e /up")
	group := b.group(t, id)
	pids := strings.Fields(file(t, group, "cgroup.procs"))
	if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if has("/proc", pid) {
			t.Errorf("process %s still exists after its container", pid)
		}
	}
	if len(pids) < 3 {
		t.Errorf("processes %v, want at least 3", pids)
	}
}

// pause freezes a container, which can still be stopped.
func pause(t *testing.T, b bench) {
	p := b.pod(t, "pause", "", nil)
	id := p.run(t, "main", sleep, nil)
	task := b.task(t, id)
	if err := task.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	group := b.group(t, id)
	if got := file(t, group, "cgroup.events"); !strings.Contains(got, "frozen 1") {
		t.Errorf("cgroup.events: %q, want frozen", got)
	}
	if err := task.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	files(t, group, map[string]string{"cgroup.freeze": "0"})
	if err := task.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
}

func (b bench) task(t *testing.T, id string) containerd.Task {
	t.Helper()
	client, err := b.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	container, err := client.LoadContainer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return task
}
