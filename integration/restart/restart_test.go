// SPDX-License-Identifier: Apache-2.0

// Package restart kills the daemon with kill -9 under running pods and starts it again, or takes
// the disk from it for a while: nothing that runs may notice, nothing that ended meanwhile may be
// forgotten, and everything can still be removed.
package restart

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

// pods is how many pods run when the daemon is killed.
const pods = 20

// script ends with code 7 when it is told to, and writes a line now and then until it is.
const script = "i=0; while [ ! -e /go ]; do i=$((i+1)); echo line $i; sleep 0.2; done; exit 7"

func TestRestart(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	b.NoLeaks(t, "kill -9 with 20 pods", func(t *testing.T) { killWithPods(t, b) })
	b.NoLeaks(t, "kill -9 while pods start", func(t *testing.T) { killWhileStarting(t, b) })
	b.NoLeaks(t, "kill -9 while pods stop", func(t *testing.T) { killWhileStopping(t, b) })
	b.NoLeaks(t, "files come back", func(t *testing.T) { filesComeBack(t, b) })
	b.NoLeaks(t, "SIGTERM and start", func(t *testing.T) { orderly(t, b) })
	b.NoLeaks(t, "resources of a pod", func(t *testing.T) { podResources(t, b) })
	b.NoLeaks(t, "out of memory while no daemon runs", func(t *testing.T) { outOfMemory(t, b) })
	b.NoLeaks(t, "the pod's task", func(t *testing.T) { podTask(t, b) })
	b.NoLeaks(t, "shim killed", func(t *testing.T) { shimKilled(t, b) })
	b.NoLeaks(t, "shim and daemon killed", func(t *testing.T) { shimAndDaemonKilled(t, b) })
}

type bench struct{ harness.Session }

// pod is a pod with a container, and what is known of them.
type pod struct {
	config        *runtimeapi.PodSandboxConfig
	id, container string
	address       string
	pid           int // of the container's process, on the host
}

// start runs a pod with a container of the script.
func (b bench) start(t *testing.T, name string) pod {
	t.Helper()
	p := pod{config: b.PodConfig(name)}
	p.id = b.Pod(t, p.config)
	var err error
	container := harness.ContainerConfig(p.config, "main", image.Busybox, "sh", "-c", script)
	if p.container, err = b.Run(t.Context(), p.id, p.config, container); err != nil {
		t.Fatalf("pod %s: container: %v", name, err)
	}
	p.address = b.address(t, p)
	p.pid = b.pid(t, p)
	return p
}

func (b bench) address(t *testing.T, p pod) string {
	t.Helper()
	answer, err := b.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("pod %s is %s", p.config.Metadata.Name, answer.Status.State)
	}
	return answer.Status.Network.GetIp()
}

// pid finds the container's process by its hostname, which is the pod's name.
func (b bench) pid(t *testing.T, p pod) int {
	t.Helper()
	found := 0
	if err := harness.Await(t.Context(), func() error {
		// The start of a container is over a moment before its process is called sh.
		shells, err := b.Processes("sh")
		if err != nil {
			return err
		}
		for _, pid := range shells {
			environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if slices.Contains(strings.Split(string(environ), "\x00"), "HOSTNAME="+p.config.Hostname) {
				found = pid
				return nil
			}
		}
		return fmt.Errorf("pod %s: its container has no process among %v", p.config.Metadata.Name, shells)
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// end lets the container end by itself, with no daemon in between.
func (p pod) end(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/go", p.pid), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func killWithPods(t *testing.T, b bench) {
	running := make([]pod, pods)
	for i := range running {
		running[i] = b.start(t, fmt.Sprintf("pod-%d", i))
	}
	ended := running[0]
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	ended.end(t)
	if err := b.AwaitProcesses(t.Context(), "sh", pods-1); err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.checkEnded(t, ended)
	for _, p := range running[1:] {
		b.checkRunning(t, p)
	}
	b.checkLists(t, running)
	for _, p := range running {
		if err := b.RemovePod(t.Context(), p.id); err != nil {
			t.Errorf("remove pod %s: %v", p.config.Metadata.Name, err)
		}
	}
}

// checkEnded wants the exit code of a container that ended while no daemon ran.
func (b bench) checkEnded(t *testing.T, p pod) {
	t.Helper()
	if b.Options.Daemon == harness.Stock {
		t.Log("stock containerd with its own shim forgets the exit code: not checked")
		return
	}
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if status.ExitCode != 7 || status.Reason != "Error" {
		t.Errorf("the container that ended meanwhile: exit code %d, reason %q, want 7, Error", status.ExitCode, status.Reason)
	}
	if status.FinishedAt < status.StartedAt {
		t.Errorf("it ended at %d, before it started at %d", status.FinishedAt, status.StartedAt)
	}
}

// checkRunning wants a pod with the same address whose container runs, can be asked and goes on
// logging.
func (b bench) checkRunning(t *testing.T, p pod) {
	t.Helper()
	if address := b.address(t, p); address != p.address {
		t.Errorf("pod %s has the address %s, had %s", p.config.Metadata.Name, address, p.address)
	}
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_RUNNING)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"hostname"}})
	if err != nil || strings.TrimSpace(string(answer.Stdout)) != p.config.Hostname {
		t.Errorf("pod %s: exec of hostname: %q, %v", p.config.Metadata.Name, answer.GetStdout(), err)
	}
	before := logSize(t, status.LogPath)
	if err := harness.Await(t.Context(), func() error {
		if logSize(t, status.LogPath) <= before {
			return fmt.Errorf("the log %s does not grow", status.LogPath)
		}
		return nil
	}); err != nil {
		t.Errorf("pod %s: %v", p.config.Metadata.Name, err)
	}
}

func logSize(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// checkLists wants exactly the pods and containers that there were.
func (b bench) checkLists(t *testing.T, running []pod) {
	t.Helper()
	var want, got []string
	for _, p := range running {
		want = append(want, p.id, p.container)
	}
	sandboxes, err := b.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sandboxes.Items {
		got = append(got, s.Id)
	}
	containers, err := b.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Containers {
		got = append(got, c.Id)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("after the restart there are\n%s\nwant\n%s", got, want)
	}
}

// orderly stops the daemon as systemd does.
func orderly(t *testing.T, b bench) {
	p := b.start(t, "orderly")
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.checkRunning(t, p)
	b.checkLists(t, []pod{p})
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// podResources updates the resources of a pod, which are remembered.
func podResources(t *testing.T, b bench) {
	p := b.start(t, "resized")
	_, err := b.UpdatePodSandboxResources(t.Context(), &runtimeapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: p.id,
		Resources:    &runtimeapi.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 123456789},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer, err := b.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	if info := answer.Info["info"]; !strings.Contains(info, "123456789") {
		t.Errorf("PodSandboxStatus has not the memory limit of the update:\n%s", info)
	}
	b.checkRunning(t, p)
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// together calls do for every index at once and returns when one of them is done, and what waits
// for the rest.
func together(count int, do func(i int)) (wait func()) {
	var all sync.WaitGroup
	first := make(chan struct{}, count)
	for i := range count {
		all.Go(func() {
			do(i)
			first <- struct{}{}
		})
	}
	<-first
	return all.Wait
}
