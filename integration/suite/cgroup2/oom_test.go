// SPDX-License-Identifier: Apache-2.0

package cgroup2

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const (
	// hungry allocates 64 MiB at once, which is more than the limit.
	hungry = "dd if=/dev/zero of=/dev/null bs=64M count=4"
	// kills is the number of containers that run out of memory, unless LITE_OOM sets another.
	kills = 20
	// atATime is the number of containers that do so in parallel.
	atATime = 4
)

func killsWanted(t *testing.T) int {
	t.Helper()
	text := os.Getenv("LITE_OOM")
	if text == "" {
		return kills
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("LITE_OOM=%s is not a number of kills", text)
	}
	return n
}

// outOfMemory runs containers out of memory, several at a time, half of them in pods of their own.
// Every kill must be reported.
func outOfMemory(t *testing.T, b bench) {
	shared := b.pod(t, "oom", "", nil)
	wanted := killsWanted(t)
	reports := make(chan string, wanted)
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range atATime {
		p := shared
		if worker%2 == 1 {
			p = b.pod(t, fmt.Sprintf("oom%d", worker), "", nil)
		}
		workers.Go(func() {
			for n := next.Add(1); n <= int64(wanted); n = next.Add(1) {
				reports <- p.starve(t, fmt.Sprintf("hungry%d", n))
			}
		})
	}
	workers.Wait()
	close(reports)
	counts := map[string]int{}
	for report := range reports {
		counts[report]++
	}
	if counts["OOMKilled 137"] != wanted {
		t.Errorf("%d containers ran out of memory; got %v", wanted, counts)
	}
	t.Logf("%d containers ran out of memory", wanted)
}

// starve runs a container out of memory, removes it, and returns its reason and exit code.
func (p pod) starve(t *testing.T, name string) string {
	// Run may return an error if the container exits before the start is complete.
	id, err := p.Run(t.Context(), p.id, p.config, p.shell(name, "exec "+hungry, withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 16 * mib})))
	if err != nil {
		return err.Error()
	}
	status, err := p.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		return err.Error()
	}
	if _, err := p.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %d", status.Reason, status.ExitCode)
}

// outOfMemoryGroup checks that all processes of a container are killed when one of them runs out of
// memory, as the kubelet configures it.
func outOfMemoryGroup(t *testing.T, b bench) {
	p := b.pod(t, "oomgroup", "", nil)
	id := p.run(t, "main", hungry+" & "+sleep, withLimits(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 16 * mib, Unified: map[string]string{"memory.oom.group": "1"},
	}))
	status, err := b.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "reason", status.Reason, "OOMKilled")
	equal(t, "exit code", status.ExitCode, 137)
}

// killedOtherwise checks that SIGKILL is not reported as out of memory, even if another container
// of the pod was out of memory before.
func killedOtherwise(t *testing.T, b bench) {
	p := b.pod(t, "killed", "", nil)
	id := p.run(t, "main", sleep, withLimits(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 16 * mib}))
	equal(t, "reason of the other container", p.starve(t, "hungry"), "OOMKilled 137")
	if err := unix.Kill(int(b.task(t, id).Pid()), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	status, err := b.AwaitState(harness.After(t), id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "reason", status.Reason, "Error")
	equal(t, "exit code", status.ExitCode, 137)
}
