// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"runtime"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// Stats measures containers and pods. Values that cannot be measured are left out.
type Stats interface {
	ContainerStats(r *container.Record) *runtimeapi.ContainerStats
	PodStats(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxStats
	// PodMetrics returns the metrics of a pod and its containers. MetricDescriptors lists their
	// names.
	PodMetrics(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxMetrics
	// MetricDescriptors returns the same list at every call.
	MetricDescriptors() []*runtimeapi.MetricDescriptor
}

// ContainerStats measures a running container. For other containers only lists have statistics: the
// writable layer.
func (s *Server) ContainerStats(_ context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	r, err := s.Containers.Get(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	if r.State() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, fmt.Errorf("%s: no statistics: not running (ListContainerStats has its writable layer): %w", r, errdefs.ErrFailedPrecondition)
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.Stats.ContainerStats(r)}, nil
}

// ListContainerStats measures the containers that match a filter.
func (s *Server) ListContainerStats(ctx context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	stats, err := s.containerStats(ctx, req.GetFilter())
	return &runtimeapi.ListContainerStatsResponse{Stats: stats}, err
}

func (s *Server) containerStats(ctx context.Context, f *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	wanted := s.Containers.Select(func(r *container.Record) bool {
		return hasIDPrefix(r.ID, f.GetId()) && hasIDPrefix(r.PodID, f.GetPodSandboxId()) && hasLabels(r.Config.GetLabels(), f.GetLabelSelector())
	})
	return measureEach(ctx, wanted, s.Stats.ContainerStats)
}

// PodSandboxStats measures a pod. For a stopped pod it returns the writable layers of the
// containers.
func (s *Server) PodSandboxStats(_ context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	r, err := s.Pods.Get(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.Stats.PodStats(r, s.Containers.OfPod(r.ID))}, nil
}

// ListPodSandboxStats measures the pods that match a filter, except stopped ones.
func (s *Server) ListPodSandboxStats(ctx context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	stats, err := s.podStats(ctx, req.GetFilter())
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: stats}, err
}

func (s *Server) podStats(ctx context.Context, f *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	wanted := s.Pods.Select(func(r *pod.Record) bool {
		return measured(r) && hasIDPrefix(r.ID, f.GetId()) && hasLabels(r.Config.GetLabels(), f.GetLabelSelector())
	})
	return measureEach(ctx, wanted, func(r *pod.Record) *runtimeapi.PodSandboxStats {
		return s.Stats.PodStats(r, s.Containers.OfPod(r.ID))
	})
}

// ListMetricDescriptors returns the metrics that ListPodSandboxMetrics can return (KEP-2371).
func (s *Server) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	return &runtimeapi.ListMetricDescriptorsResponse{Descriptors: s.Stats.MetricDescriptors()}, nil
}

// ListPodSandboxMetrics returns the metrics of all pods that are not stopped, and of their
// containers.
func (s *Server) ListPodSandboxMetrics(ctx context.Context, _ *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	metrics, err := s.podMetrics(ctx)
	return &runtimeapi.ListPodSandboxMetricsResponse{PodMetrics: metrics}, err
}

func (s *Server) podMetrics(ctx context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	return measureEach(ctx, s.Pods.Select(measured), func(r *pod.Record) *runtimeapi.PodSandboxMetrics {
		return s.Stats.PodMetrics(r, s.Containers.OfPod(r.ID))
	})
}

// maxMeasuring is how many records are measured at a time. More of them would wait for the kernel's
// lock on cgroup statistics.
const maxMeasuring = 4

// measureEach returns the result of measure for each record, in order. The only error is a panic.
func measureEach[R, M any](ctx context.Context, records []R, measure func(R) M) ([]M, error) {
	all := make([]M, len(records))
	var group errgroup.Group
	group.SetLimit(min(maxMeasuring, runtime.GOMAXPROCS(0)))
	for i, r := range records {
		group.Go(guard.Func(ctx, "measure", func() error {
			all[i] = measure(r)
			return nil
		}))
	}
	return all, group.Wait()
}

// measured reports whether lists of statistics and metrics include a pod. A stopped pod has nothing
// left to measure.
func measured(r *pod.Record) bool { return r.State != pod.Stopped }
