// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultReads is how often each call is made, per round, daemon and number of pods.
const defaultReads = 15

// lists makes the read-only calls.
func lists(ctx context.Context, n *node) error {
	c, containers := n.client, n.containers()
	for _, read := range []func() error{
		func() error {
			return repeat(ctx, n, c.ListPodSandbox, "ListPodSandbox", same(&runtimeapi.ListPodSandboxRequest{}))
		},
		func() error {
			return repeat(ctx, n, c.ListContainers, "ListContainers", same(&runtimeapi.ListContainersRequest{}))
		},
		func() error {
			return repeat(ctx, n, c.ListContainerStats, "ListContainerStats", same(&runtimeapi.ListContainerStatsRequest{}))
		},
		func() error {
			return repeat(ctx, n, c.ListPodSandboxStats, "ListPodSandboxStats", same(&runtimeapi.ListPodSandboxStatsRequest{}))
		},
		func() error {
			return repeat(ctx, n, c.ContainerStatus, "ContainerStatus", func(i int) *runtimeapi.ContainerStatusRequest {
				return &runtimeapi.ContainerStatusRequest{ContainerId: containers[i%len(containers)]}
			})
		},
		func() error {
			return repeat(ctx, n, c.PodSandboxStatus, "PodSandboxStatus", func(i int) *runtimeapi.PodSandboxStatusRequest {
				return &runtimeapi.PodSandboxStatusRequest{PodSandboxId: n.pods[i%len(n.pods)].pod}
			})
		},
	} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

func same[Q any](request Q) func(int) Q { return func(int) Q { return request } }

// readFor bounds the calls of one kind: with 500 pods, some of stock containerd's take seconds.
const readFor = 5 * time.Second

// repeat makes one call several times, at least twice; the first one is not recorded.
func repeat[Q, A any](ctx context.Context, n *node, do func(context.Context, Q, ...grpc.CallOption) (A, error), rpc string, request func(int) Q) error {
	if _, err := do(ctx, request(0)); err != nil {
		return fmt.Errorf("%s: %w", rpc, err)
	}
	before, err := cpuTime(n.bench.Daemon.PID())
	if err != nil {
		return err
	}
	begin, count := time.Now(), 0
	for ; count < cmp.Or(n.reads, defaultReads) && (count == 0 || time.Since(begin) < readFor); count++ {
		q := request(count)
		start := time.Now()
		if _, err := do(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", rpc, err)
		}
		n.record(rpc, "ms", milliseconds(time.Since(start)))
	}
	after, err := cpuTime(n.bench.Daemon.PID())
	if n.callCPU && err == nil {
		n.record("CPU of "+rpc, "ms", milliseconds(after-before)/float64(count))
	}
	return err
}

// metrics reads the metrics of all pods. In one message those of a few hundred pods would exceed
// the limit of a kubelet's client.
func (n *node) metrics(ctx context.Context, request *runtimeapi.StreamPodSandboxMetricsRequest, _ ...grpc.CallOption) (pods int, err error) {
	stream, err := n.client.StreamPodSandboxMetrics(ctx, request)
	if err != nil {
		return 0, err
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return pods, nil
		}
		if err != nil {
			return pods, err
		}
		pods += len(part.PodSandboxMetrics)
	}
}

// orphan counts the errors of statistics on a node that has a pod without a cgroup parent, as
// crictl may create.
func orphan(ctx context.Context, n *node) error {
	config := n.bench.PodConfig("orphan")
	config.Linux.CgroupParent = ""
	pod, err := n.client.RunPod(ctx, config)
	if err != nil {
		return err
	}
	failures := 0.0
	if _, err := n.client.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{}); err != nil {
		failures++
	}
	n.session.record("ListPodSandboxStats, a pod without cgroup parent", "errors", failures)
	return n.client.RemovePod(ctx, pod)
}
