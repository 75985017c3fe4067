// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// pollSource is where a kubelet gets the statistics of pods from.
type pollSource bool

const (
	byCAdvisor pollSource = false // except of root file systems: the kubelet asks the runtime
	byCRI      pollSource = true  // with the feature gate PodAndContainerStatsFromCRI
)

// poll sends the requests of a kubelet v1.37 on a node without any activity, at the same intervals.
// Like those of a kubelet, its loops do not wait for each other.
func poll(ctx context.Context, client *harness.CRI, source pollSource, duration time.Duration) error {
	// Without a deadline, which the daemon would get and report before limited ends.
	limited, cancel := context.WithCancel(ctx)
	defer time.AfterFunc(duration, cancel).Stop()
	group, limited := errgroup.WithContext(limited)
	for _, p := range requests(client, source) {
		group.Go(func() error { return p.loop(limited) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return ctx.Err()
}

// loop sends the request at once and then periodically, until ctx ends.
func (r request) loop(ctx context.Context) error {
	ticker := time.NewTicker(time.Duration(r.every) * time.Second)
	defer ticker.Stop()
	for ctx.Err() == nil {
		// The end of ctx may interrupt the last request.
		if err := r.send(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// request is one that a kubelet sends periodically.
type request struct {
	every int // seconds
	send  func(context.Context) error
}

// requests returns those of pkg/kubelet: pleg/generic.go, kubelet.go (housekeepingPeriod,
// updateRuntimeUp, evictionMonitoringPeriod), stats/cri_stats_provider.go and
// images/image_gc_manager.go. It leaves out requests that the kubelet sends once a minute or less
// often.
func requests(c *harness.CRI, source pollSource) []request {
	stats := func(ctx context.Context) error {
		_, err := c.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
		return err
	}
	if source == byCRI {
		stats = func(ctx context.Context) error {
			_, err := c.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
			return err
		}
	}
	return []request{
		{1, func(ctx context.Context) error { return listAll(ctx, c) }},
		{2, func(ctx context.Context) error { return listRunning(ctx, c) }},
		{5, func(ctx context.Context) error {
			_, err := c.Status(ctx, &runtimeapi.StatusRequest{})
			return err
		}},
		{10, func(ctx context.Context) error { return listAll(ctx, c) }},
		{10, stats},
		{10, func(ctx context.Context) error {
			_, err := c.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
			return err
		}},
		{30, func(ctx context.Context) error {
			_, err := c.ListImages(ctx, &runtimeapi.ListImagesRequest{})
			return err
		}},
	}
}

func listAll(ctx context.Context, c *harness.CRI) error {
	if _, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{}); err != nil {
		return err
	}
	_, err := c.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	return err
}

func listRunning(ctx context.Context, c *harness.CRI) error {
	ready := &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}}
	if _, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: ready}); err != nil {
		return err
	}
	running := &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}}
	_, err := c.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: running})
	return err
}
