// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// reads is how often each call is made, per round, daemon and number of pods.
const reads = 15

// lists makes the read-only calls.
func lists(ctx context.Context, n *node) error {
	c := n.client
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
				return &runtimeapi.ContainerStatusRequest{ContainerId: n.containers[i%len(n.containers)]}
			})
		},
		func() error {
			return repeat(ctx, n, c.PodSandboxStatus, "PodSandboxStatus", func(i int) *runtimeapi.PodSandboxStatusRequest {
				return &runtimeapi.PodSandboxStatusRequest{PodSandboxId: n.pods[i%len(n.pods)]}
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

// repeat makes one call several times; the first one is not recorded.
func repeat[Q, A any](ctx context.Context, n *node, do func(context.Context, Q, ...grpc.CallOption) (A, error), rpc string, request func(int) Q) error {
	for i := range reads + 1 {
		q := request(i)
		start := time.Now()
		if _, err := do(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", rpc, err)
		}
		if i > 0 {
			n.record(fmt.Sprintf("%s, %d pods", rpc, len(n.pods)), "ms", milliseconds(time.Since(start)))
		}
	}
	return nil
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
	errors := 0.0
	if _, err := n.client.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{}); err != nil {
		errors++
	}
	n.record("ListPodSandboxStats, a pod without cgroup parent", "errors", errors)
	return n.client.RemovePod(ctx, pod)
}
