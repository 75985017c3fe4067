// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// podLife is a pod with one container or more, from a kubelet's first call to its last. The
// containers are stopped with SIGKILL: SIGTERM might reach one before its process handles the
// signal.
type podLife struct {
	client *harness.CRI
	config *runtimeapi.PodSandboxConfig
	count  int // of containers; 0 means one

	pod        string   // ID
	containers []string // IDs
	up, down   []call
}

// call is one RPC and its duration.
type call struct {
	rpc  string
	took time.Duration
}

// total returns the sum of the durations of calls.
func total(calls []call) time.Duration {
	var sum time.Duration
	for _, c := range calls {
		sum += c.took
	}
	return sum
}

// timed makes one call and records its duration.
func timed[Q, A any](ctx context.Context, calls *[]call, do func(context.Context, Q, ...grpc.CallOption) (A, error), rpc string, request Q) (A, error) {
	start := time.Now()
	answer, err := do(ctx, request)
	*calls = append(*calls, call{rpc, time.Since(start)})
	if err != nil {
		err = fmt.Errorf("%s: %w", rpc, err)
	}
	return answer, err
}

// start runs the pod and its containers.
func (l *podLife) start(ctx context.Context) error {
	pod, err := timed(ctx, &l.up, l.client.RunPodSandbox, "RunPodSandbox", &runtimeapi.RunPodSandboxRequest{Config: l.config})
	if err != nil {
		return err
	}
	l.pod = pod.PodSandboxId
	for i := range max(l.count, 1) {
		if err := l.startContainer(ctx, fmt.Sprint("main-", i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *podLife) startContainer(ctx context.Context, name string) error {
	created, err := timed(ctx, &l.up, l.client.CreateContainer, "CreateContainer", &runtimeapi.CreateContainerRequest{
		PodSandboxId: l.pod, SandboxConfig: l.config,
		Config: harness.ContainerConfig(l.config, name, image.Busybox, workload, "100000"),
	})
	if err != nil {
		return err
	}
	l.containers = append(l.containers, created.ContainerId)
	_, err = timed(ctx, &l.up, l.client.StartContainer, "StartContainer", &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId})
	return err
}

// end stops and removes them.
func (l *podLife) end(ctx context.Context) error {
	for _, id := range l.containers {
		_, err := timed(ctx, &l.down, l.client.StopContainer, "StopContainer", &runtimeapi.StopContainerRequest{ContainerId: id})
		if err != nil {
			return err
		}
	}
	_, err := timed(ctx, &l.down, l.client.StopPodSandbox, "StopPodSandbox", &runtimeapi.StopPodSandboxRequest{PodSandboxId: l.pod})
	if err != nil {
		return err
	}
	for _, id := range l.containers {
		_, err := timed(ctx, &l.down, l.client.RemoveContainer, "RemoveContainer", &runtimeapi.RemoveContainerRequest{ContainerId: id})
		if err != nil {
			return err
		}
	}
	_, err = timed(ctx, &l.down, l.client.RemovePodSandbox, "RemovePodSandbox", &runtimeapi.RemovePodSandboxRequest{PodSandboxId: l.pod})
	return err
}

// recordUp records the calls of start.
func (l *podLife) recordUp(s *session, where string) { recordCalls(s, "pod up, ", where, l.up) }

// recordDown records the calls of end.
func (l *podLife) recordDown(s *session, where string) { recordCalls(s, "pod down, ", where, l.down) }

func recordCalls(s *session, sum, where string, calls []call) {
	s.record(sum+where, "ms", milliseconds(total(calls)))
	for _, c := range calls {
		s.record(c.rpc+", "+where, "ms", milliseconds(c.took))
	}
}

// run starts the pod and ends it.
func (l *podLife) run(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	return l.end(ctx)
}
