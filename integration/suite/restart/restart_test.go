// SPDX-License-Identifier: Apache-2.0

// Package restart kills the daemon with SIGKILL while pods run and restarts it, or makes its disk
// unwritable for some time: running containers must not be disturbed, exits that happened meanwhile
// must be reported, and everything must be removable afterwards.
package restart

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// pods is the number of running pods when the daemon is killed.
const pods = 20

// script exits with code 7 when the file /go exists. Until then it writes a line every 0.2 s.
const script = "i=0; while [ ! -e /go ]; do i=$((i+1)); echo line $i; sleep 0.2; done; exit 7"

func TestRestart(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	b.NoLeaks(t, "kill -9 with 20 pods", func(t *testing.T) { killWithPods(t, b) })
	b.NoLeaks(t, "kill -9 while pods start", func(t *testing.T) { killWhileStarting(t, b) })
	b.NoLeaks(t, "kill -9 while pods stop", func(t *testing.T) { killWhileStopping(t, b) })
	b.NoLeaks(t, "files reappear", func(t *testing.T) { filesComeBack(t, b) })
	b.NoLeaks(t, "SIGTERM and restart", func(t *testing.T) { orderly(t, b) })
	b.NoLeaks(t, "resources of a pod", func(t *testing.T) { podResources(t, b) })
	b.NoLeaks(t, "out of memory while no daemon runs", func(t *testing.T) { outOfMemory(t, b) })
	b.NoLeaks(t, "the pod's task", func(t *testing.T) { podTask(t, b) })
	b.NoLeaks(t, "shim killed", func(t *testing.T) { shimKilled(t, b) })
	b.NoLeaks(t, "shim and daemon killed", func(t *testing.T) { shimAndDaemonKilled(t, b) })
}

type bench struct{ harness.Session }

// pod is a pod with a container, and their properties.
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
		// StartContainer returns a moment before the process is called sh.
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
		return fmt.Errorf("pod %s: the container has no process among %v", p.config.Metadata.Name, shells)
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// end lets the container exit by creating /go directly, without the daemon.
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

// checkEnded checks the exit code of a container that exited while no daemon ran.
func (b bench) checkEnded(t *testing.T, p pod) {
	t.Helper()
	if b.Options.Daemon == harness.Stock {
		t.Log("stock containerd with its own shim loses the exit code: not checked")
		return
	}
	status, err := b.AwaitState(t.Context(), p.container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if status.ExitCode != 7 || status.Reason != "Error" {
		t.Errorf("the exit without a daemon: exit code %d, reason %q, want 7, Error", status.ExitCode, status.Reason)
	}
	if status.FinishedAt < status.StartedAt {
		t.Errorf("finished at %d, before the start at %d", status.FinishedAt, status.StartedAt)
	}
}

// checkRunning checks that a pod has the same address, and that its container runs, answers an exec
// and continues to log.
func (b bench) checkRunning(t *testing.T, p pod) {
	t.Helper()
	if address := b.address(t, p); address != p.address {
		t.Errorf("pod %s: address %s, want %s", p.config.Metadata.Name, address, p.address)
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
			return fmt.Errorf("log %s does not grow", status.LogPath)
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

// checkLists checks that the lists have exactly the pods and containers from before.
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
		t.Errorf("after the restart: got\n%s\nwant\n%s", got, want)
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

// podResources updates the resources of a pod, which must survive a restart.
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
		t.Errorf("PodSandboxStatus does not have the updated memory limit:\n%s", info)
	}
	b.checkRunning(t, p)
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// together calls do for every index concurrently and returns when the first call has returned. wait
// waits for the others.
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
