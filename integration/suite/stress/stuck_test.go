// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// TestStuckShim stops the shim of a pod, as a page fault on an unreachable network disk would.
// Calls that only read must not be affected, other pods must start and stop, and the pod itself
// must be removed within its caller's deadline, although its shim never continues.
func TestStuckShim(t *testing.T) {
	bench := harness.Start(t)
	client := bench.Client(t, image.Busybox)
	s := stuck{T: t, bench: bench, CRI: client}
	s.pod, s.container = s.run("stuck")
	shims, err := bench.Processes("containerd-shim")
	if err != nil || len(shims) != 1 {
		t.Fatalf("shims %v, %v, want one", shims, err)
	}
	s.signal(shims[0], syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(shims[0], syscall.SIGCONT) }() // it is killed by then
	s.read()
	s.others()
	s.giveUp()
	s.removeStuck()
}

// removal is how long a caller waits for the removal of a pod with a stuck shim. containerd-lite
// promises ten seconds.
const removal = 15 * time.Second

// removeStuck removes the pod while its shim is stopped. A shim that may have other pods must not
// be killed: only the operator may do that.
func (s stuck) removeStuck() {
	ctx, cancel := context.WithTimeout(s.Context(), removal)
	defer cancel()
	start := time.Now()
	err := s.RemovePod(ctx, s.pod)
	s.Logf("the removal took %s: %v", time.Since(start).Round(time.Millisecond), err)
	switch {
	case s.bench.Sharing != "" && err == nil:
		s.Error("the pod was removed although its shim may have other pods")
	case s.bench.Sharing != "":
		shims, err := s.bench.Processes("containerd-shim")
		if err != nil || len(shims) != 1 {
			s.Fatalf("shims %v, %v, want one", shims, err)
		}
		s.signal(shims[0], syscall.SIGCONT)
		s.remove(s.pod)
	case err != nil:
		s.Error(err)
	}
}

type stuck struct {
	*testing.T
	*harness.CRI
	bench          *harness.Bench
	pod, container string // those of the stopped shim
}

func (s stuck) signal(shim int, sig syscall.Signal) {
	if err := syscall.Kill(shim, sig); err != nil {
		s.Errorf("%s: %v", sig, err)
	}
}

// run runs a pod with a container.
func (s stuck) run(name string) (pod, container string) {
	config := s.bench.PodConfig(name)
	pod, err := s.RunPod(s.Context(), config)
	if err != nil {
		s.Fatal(err)
	}
	container, err = s.CRI.Run(s.Context(), pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	if err != nil {
		s.Fatal(err)
	}
	return pod, container
}

func (s stuck) remove(pod string) {
	if err := s.RemovePod(s.Context(), pod); err != nil {
		s.Error(err)
	}
}

// read makes every call that only reads.
func (s stuck) read() {
	ctx, cancel := context.WithTimeout(s.Context(), hangTimeout)
	defer cancel()
	var err error
	check := func(call string) {
		if err != nil {
			s.Errorf("%s: %v", call, err)
		}
	}
	pods, err := s.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	check("ListPodSandbox")
	containers, err := s.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	check("ListContainers")
	if len(pods.GetItems()) != 1 || len(containers.GetContainers()) != 1 {
		s.Errorf("lists: %v and %v", pods, containers)
	}
	_, err = s.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.pod, Verbose: true})
	check("PodSandboxStatus")
	answer, err := s.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: s.container, Verbose: true})
	check("ContainerStatus")
	if state := answer.GetStatus().GetState(); state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		s.Errorf("container state: %s", state)
	}
	_, err = s.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: s.pod})
	check("PodSandboxStats")
	_, err = s.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: s.container})
	check("ContainerStats")
	_, err = s.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
	check("ListPodSandboxStats")
	_, err = s.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
	check("ListContainerStats")
	_, err = s.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
	check("ListPodSandboxMetrics")
	_, err = s.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	check("Status")
}

// others runs and removes another pod.
func (s stuck) others() {
	ctx, cancel := context.WithTimeout(s.Context(), hangTimeout)
	defer cancel()
	pod, container := s.run("other")
	answer, err := s.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"echo", "pong"}})
	if err != nil || string(answer.Stdout) != "pong\n" {
		s.Errorf("ExecSync in another pod: %v, %v", answer, err)
	}
	s.remove(pod)
}

// giveUp makes the calls that need the shim. They must return at their caller's deadline, and no
// later.
func (s stuck) giveUp() {
	ctx, cancel := context.WithTimeout(s.Context(), hangTimeout)
	defer cancel()
	_, err := s.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: s.container, Cmd: []string{"true"}, Timeout: 1})
	if status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil {
		s.Errorf("ExecSync: %v, want DeadlineExceeded by its own timeout", err)
	}
	stop, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = s.StopContainer(stop, &runtimeapi.StopContainerRequest{ContainerId: s.container, Timeout: 1000})
	if !slices.Contains([]codes.Code{codes.Canceled, codes.DeadlineExceeded}, status.Code(err)) {
		s.Errorf("StopContainer: %v, want Canceled or DeadlineExceeded", err)
	}
}
