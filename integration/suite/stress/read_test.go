// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (c *caller) podStatus() {
	id := c.pod()
	since := c.history.stageOf(id)
	c.on(id, "PodSandboxStatus", func(ctx context.Context) error {
		answer, err := c.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		switch {
		case status.Code(err) == codes.NotFound:
			c.history.missing("PodSandboxStatus", id)
		case err == nil:
			c.history.observe("PodSandboxStatus", id, "", since, podStage(answer.Status.State))
		}
		return err
	})
}

func (c *caller) containerStatus() {
	id := c.container()
	since := c.history.stageOf(id)
	c.on(id, "ContainerStatus", func(ctx context.Context) error {
		answer, err := c.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		switch {
		case status.Code(err) == codes.NotFound:
			c.history.missing("ContainerStatus", id)
		case err == nil:
			c.history.observe("ContainerStatus", id, c.pod(), since, containerStage(answer.Status.State))
		}
		return err
	})
}

// podsOf lists the pods of a place, or all.
func (c *caller) podsOf(at *place) (ids []string) {
	filter := &runtimeapi.PodSandboxFilter{}
	if at != nil {
		filter.LabelSelector = at.config.Labels
	}
	since := c.history.now(false)
	c.call("ListPodSandbox", func(ctx context.Context) error {
		answer, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: filter})
		if err != nil {
			return err
		}
		for _, item := range answer.Items {
			ids = append(ids, item.Id)
			c.history.observe("ListPodSandbox", item.Id, "", since[item.Id], podStage(item.State))
		}
		if at == nil {
			c.absent("ListPodSandbox", since, ids)
		}
		c.once("ListPodSandbox", ids)
		return nil
	})
	return ids
}

// containersOf lists the containers of a place, or all.
func (c *caller) containersOf(at *place) (ids []string) {
	filter := &runtimeapi.ContainerFilter{}
	if at != nil {
		filter.LabelSelector = at.config.Labels
	}
	since := c.history.now(true)
	c.call("ListContainers", func(ctx context.Context) error {
		items, err := c.list(ctx, filter)
		if err != nil {
			return err
		}
		for _, item := range items {
			ids = append(ids, item.Id)
			c.history.observe("ListContainers", item.Id, item.PodSandboxId, since[item.Id], containerStage(item.State))
		}
		if at == nil {
			c.absent("ListContainers", since, ids)
		}
		c.once("ListContainers", ids)
		return nil
	})
	return ids
}

// list returns a list of containers by one of the two calls.
func (c *caller) list(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	if c.random.IntN(2) == 0 {
		answer, err := c.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: filter})
		return answer.GetContainers(), err
	}
	stream, err := c.StreamContainers(ctx, &runtimeapi.StreamContainersRequest{Filter: filter})
	if err != nil {
		return nil, err
	}
	var items []*runtimeapi.Container
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		items = append(items, part.Containers...)
	}
}

// absent records the objects that were known before a complete list and are not in it.
func (c *caller) absent(what string, since stages, listed []string) {
	in := map[string]bool{}
	for _, id := range listed {
		in[id] = true
	}
	for id, was := range since {
		if !in[id] && was != gone {
			c.history.missing(what, id)
		}
	}
}

func (c *caller) once(what string, ids []string) {
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			c.history.complainf("%s: %s is listed twice", what, id)
		}
		seen[id] = true
	}
}

// stats makes one of the calls for statistics.
func (c *caller) stats() {
	pod, container := c.pod(), c.container()
	switch c.random.IntN(6) {
	case 0:
		c.on(pod, "PodSandboxStats", func(ctx context.Context) error {
			_, err := c.PodSandboxStats(ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod})
			return err
		})
	case 1:
		c.on(container, "ContainerStats", func(ctx context.Context) error {
			_, err := c.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: container})
			return err
		})
	case 2:
		c.call("ListPodSandboxStats", func(ctx context.Context) error {
			_, err := c.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
			return err
		})
	case 3:
		c.call("ListContainerStats", func(ctx context.Context) error {
			_, err := c.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
			return err
		})
	case 4:
		c.call("ListPodSandboxMetrics", func(ctx context.Context) error {
			_, err := c.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
			return err
		})
	case 5:
		c.call("ImageFsInfo", func(ctx context.Context) error {
			_, err := c.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
			return err
		})
	}
}
