// SPDX-License-Identifier: Apache-2.0

package firsttime

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// manyPods is how many pods the node of TestBadNight runs.
const manyPods = 50

// TestBadNight breaks four things of a node at the same time, under 50 pods: a shim is stuck, a CNI
// plugin hangs, a registry sends nothing, the disk is full. `containerd-lite status` must name each
// in its first 20 lines, and have the steps of a pod that is removed.
func TestBadNight(t *testing.T) {
	n := newNode(t)
	ctx := t.Context()
	pod, container := n.runMany(t)
	resume := stopShim(t, n, pod)
	hangs := n.Path("cni", "hangs")
	if err := os.WriteFile(hangs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mendCNI, err := n.Network.Replace("bridge", "while test -e "+hangs+"; do sleep 0.1; done; exec $PLUGIN")
	if err != nil {
		t.Fatal(err)
	}
	slow := httptest.NewServer(http.HandlerFunc(hang))
	mendHosts := write(func(n node) string { return n.Path("certs.d", "slow.test", "hosts.toml") }, fmt.Sprintf("server = %q\n", slow.URL))(t, n)

	calls, cancel := context.WithCancel(ctx)
	var stuck sync.WaitGroup
	stuck.Go(func() { _, _ = n.StopContainer(calls, &runtimeapi.StopContainerRequest{ContainerId: container}) })
	stuck.Go(func() {
		_, _ = n.RunPodSandbox(calls, &runtimeapi.RunPodSandboxRequest{Config: n.PodConfig("no-network")})
	})
	stuck.Go(func() {
		_, _ = n.PullImage(calls, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "slow.test/a:1"}})
	})
	stuckCalls := []string{
		"StopContainer bench/night-0, for ",
		"shim of " + container + ": kill",
		"RunPodSandbox bench/no-network, for ",
		"CNI plugin bridge: ADD",
		"PullImage slow.test/a:1, for ",
		"registry slow.test, for ",
	}
	n.awaitStatus(t, stuckCalls) // before the disk is full, which would end them
	freeDisk := fill(t, n)
	n.awaitStatus(t, append(stuckCalls, " MiB left: pulls fail and pods cannot be created"))
	start := time.Now()
	n.command(t, "status")
	fmt.Printf("report: status of a node with %d pods and four faults: %s\n", manyPods, time.Since(start).Round(time.Millisecond))
	if said := n.command(t, "status", "pulls"); !strings.Contains(said, "PullImage slow.test/a:1") || strings.Contains(said, "StopContainer") {
		t.Errorf("pulls: %s", said)
	}

	for _, mend := range []func() error{freeDisk, mendHosts, func() error { return os.Remove(hangs) }, resume} {
		if err := mend(); err != nil {
			t.Error(err)
		}
	}
	slow.CloseClientConnections()
	stuck.Wait()
	cancel()
	slow.Close()
	if err := mendCNI(); err != nil {
		t.Error(err)
	}
	n.removePods(t)
	if said := n.command(t, "status"); !strings.Contains(said, "0 pods, 0 ready") {
		t.Errorf("after the removal: %s", said)
	}
	n.checkStory(t)
}

// runMany runs the pods, the first of them with a container.
func (n node) runMany(t *testing.T) (pod, container string) {
	t.Helper()
	ctx := t.Context()
	if err := n.Pull(ctx, image.Busybox); err != nil {
		t.Fatal(err)
	}
	config := func(i int) *runtimeapi.PodSandboxConfig {
		c := n.PodConfig(fmt.Sprintf("night-%d", i))
		harness.OnHostNetwork(c)
		return c
	}
	for i := range manyPods {
		id, err := n.RunPod(ctx, config(i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			pod = id
		}
	}
	container, err := n.Run(ctx, pod, config(0), harness.ContainerConfig(config(0), "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	return pod, container
}

// checkStory checks that the steps of a pod are known after its removal.
func (n node) checkStory(t *testing.T) {
	t.Helper()
	story := n.command(t, "status", "pod", "night-0")
	for _, want := range []string{"RunPodSandbox bench/night-0", "launch", "CreateContainer", "StartContainer", "StopContainer", "RemovePodSandbox", "disk: delete the record of pod "} {
		if !strings.Contains(story, want) {
			t.Errorf("the story has no %q:\n%s", want, story)
		}
	}
}

// awaitStatus waits until the first 20 lines of `containerd-lite status` contain all texts.
func (n node) awaitStatus(t *testing.T, wants []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := harness.Await(ctx, func() error {
		said := n.command(t, "status")
		lines := strings.Split(said, "\n")
		head := strings.Join(lines[:min(len(lines), 20)], "\n")
		for _, want := range wants {
			if !strings.Contains(head, want) {
				return fmt.Errorf("the first 20 lines do not contain %q:\n%s", want, said)
			}
		}
		if !strings.Contains(lines[0], "50 pods, 50 ready; 1 containers, 1 running") {
			return fmt.Errorf("the first line is %q", lines[0])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// command runs containerd-lite with a command.
func (n node) command(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"--config", n.Daemon.Config}, args...)
	out, err := harness.Output(exec.CommandContext(t.Context(), "../../../bin/containerd-lite", args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stopShim stops the shim of a pod with SIGSTOP. resume continues it.
func stopShim(t *testing.T, n node, pod string) (resume func() error) {
	t.Helper()
	shims, err := n.Processes("containerd-shim")
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, shim := range shims {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", shim))
		if err == nil && strings.Contains(string(line), pod) {
			pid = shim
		}
	}
	if pid == 0 {
		t.Fatalf("none of the shims %v is of pod %s", shims, pod)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() error { return syscall.Kill(pid, syscall.SIGCONT) }
}
