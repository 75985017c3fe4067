// SPDX-License-Identifier: Apache-2.0

// Package stop stops pods and containers that ignore SIGTERM or whose shim does not answer.
package stop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	// ignoresTerm logs each SIGTERM and continues.
	ignoresTerm = "trap 'echo heard' TERM; echo ready; while :; do sleep 0.1; done"
	// patience is a grace period in seconds that no test waits for.
	patience = 3600
)

func TestStop(t *testing.T) {
	b := bench{harness.Open(t, image.Busybox)}
	b.NoLeaks(t, "a shorter timeout wins", func(t *testing.T) { shorterTimeout(t, b) })
	b.NoLeaks(t, "a pod with several containers that ignore SIGTERM", func(t *testing.T) { stubbornContainers(t, b) })
	b.NoLeaks(t, "a pod whose shim is stuck", func(t *testing.T) { stuckShim(t, b) })
}

type bench struct{ harness.Session }

// pod is a pod with containers that ignore SIGTERM.
type pod struct {
	config     *runtimeapi.PodSandboxConfig
	id         string
	containers []string
}

// start runs a pod with count containers and waits until each ignores SIGTERM.
func (b bench) start(t *testing.T, name string, count int) pod {
	t.Helper()
	p := pod{config: b.PodConfig(name)}
	p.id = b.Pod(t, p.config)
	for i := range count {
		config := harness.ContainerConfig(p.config, fmt.Sprintf("stubborn-%d", i), image.Busybox, "sh", "-c", ignoresTerm)
		id, err := b.Run(t.Context(), p.id, p.config, config)
		if err != nil {
			t.Fatalf("pod %s: container: %v", name, err)
		}
		p.containers = append(p.containers, id)
		b.awaitLog(t, id, "ready")
	}
	return p
}

// awaitLog waits for a line in the log of a container.
func (b bench) awaitLog(t *testing.T, container, line string) {
	t.Helper()
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t.Context(), func() error {
		text, err := os.ReadFile(answer.Status.LogPath)
		if err == nil && !strings.Contains(string(text), " "+line+"\n") {
			err = fmt.Errorf("no %q in the log:\n%s", line, text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (b bench) stop(t *testing.T, container string, seconds int64) error {
	t.Helper()
	_, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: container, Timeout: seconds})
	return err
}

// shorterTimeout stops a container a second time with a shorter grace period, as the kubelet does
// when the pod is deleted by force meanwhile.
func shorterTimeout(t *testing.T, b bench) {
	p := b.start(t, "impatient", 1)
	container := p.containers[0]
	patient := make(chan error, 1)
	go func() { patient <- b.stop(t, container, patience) }()
	b.awaitLog(t, container, "heard")
	if err := b.stop(t, container, 1); err != nil {
		t.Errorf("the second stop: %v", err)
	}
	if err := <-patient; err != nil {
		t.Errorf("the first stop: %v", err)
	}
	status, err := b.AwaitState(t.Context(), container, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		t.Fatal(err)
	}
	if status.ExitCode != 128+int32(syscall.SIGKILL) {
		t.Errorf("exit code %d, want that of SIGKILL", status.ExitCode)
	}
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// stubbornContainers checks that containers are killed with their pod, although a stop of one of
// them with a long grace period is in progress.
func stubbornContainers(t *testing.T, b bench) {
	p := b.start(t, "stubborn", 3)
	patient := make(chan error, 1)
	go func() { patient <- b.stop(t, p.containers[0], patience) }()
	b.awaitLog(t, p.containers[0], "heard")
	if _, err := b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Error(err)
	}
	if err := <-patient; err != nil {
		t.Errorf("the patient stop: %v", err)
	}
	for _, container := range p.containers {
		if _, err := b.AwaitState(t.Context(), container, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
			t.Error(err)
		}
	}
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// stuckShim checks that a pod whose shim does not answer releases its address nevertheless, and
// that other pods are not disturbed. The stop returns when the shim has been killed. A shim that
// may have other pods is not killed; then the stop returns when the shim continues.
func stuckShim(t *testing.T, b bench) {
	if b.Options.Daemon == harness.Stock {
		t.Skip("stock containerd keeps the network of a pod until the last container has exited")
	}
	stuck := b.start(t, "stuck", 1)
	shims, err := b.Processes("containerd-shim")
	if err != nil || len(shims) != 1 {
		t.Fatalf("shims %v, %v; want one", shims, err)
	}
	other := b.start(t, "other", 1)
	if err := syscall.Kill(shims[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(shims[0], syscall.SIGCONT) })

	stopped := make(chan error, 1)
	go func() {
		_, err := b.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: stuck.id})
		stopped <- err
	}()
	b.checkUnaffected(t, other)
	if err := harness.Await(t.Context(), func() error { return b.released(stuck.id) }); err != nil {
		t.Errorf("network of a pod with a stuck shim: %v", err)
	}
	if b.Sharing != "" {
		if err := syscall.Kill(shims[0], syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop of a pod with a stuck shim: %v", err)
	}
	if err := b.RemovePod(t.Context(), stuck.id); err != nil {
		t.Error(err)
	}
}

// checkUnaffected lists, execs in, stops and removes another pod than the stuck one.
func (b bench) checkUnaffected(t *testing.T, p pod) {
	t.Helper()
	answer, err := b.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil || len(answer.GetContainers()) != 2 {
		t.Errorf("containers: %v, %v, want two", answer, err)
	}
	said, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.containers[0], Cmd: []string{"echo", "well"}})
	if err != nil || string(said.GetStdout()) != "well\n" {
		t.Errorf("exec: %q, %v", said.GetStdout(), err)
	}
	if err := b.RemovePod(t.Context(), p.id); err != nil {
		t.Error(err)
	}
}

// released returns an error while a pod has network resources: an address of host-local, or a
// pinned namespace.
func (b bench) released(id string) error {
	addresses, err := filepath.Glob(filepath.Join(b.Network.IPAM, "*", "*"))
	if err != nil {
		return err
	}
	for _, file := range addresses {
		owner, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(owner), id) {
			return fmt.Errorf("the pod still has the address %s", filepath.Base(file))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && strings.Contains(string(mounts), "cni-"+id) {
		err = fmt.Errorf("the pod's network namespace is still pinned")
	}
	return err
}
