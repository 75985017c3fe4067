// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Stream RPC returns the items of its List RPC in several messages, for nodes whose list is too
// large for one message (KEP-5825). Both get their items from the same functions.

// batchBytes is the limit for a message of a streamed list. It is far below the default limit of
// gRPC clients, 4 MiB, and that of the kubelet, 16 MiB.
const batchBytes = 1 << 20

// StreamPodSandboxes lists the pods that match a filter.
func (s *Server) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxesResponse]) error {
	return sendBatches(stream.Context(), s.podItems(req.GetFilter()), func(batch []*runtimeapi.PodSandbox) error {
		return stream.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: batch})
	})
}

// StreamContainers lists the containers that match a filter.
func (s *Server) StreamContainers(req *runtimeapi.StreamContainersRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamContainersResponse]) error {
	return sendBatches(stream.Context(), s.containerItems(req.GetFilter()), func(batch []*runtimeapi.Container) error {
		return stream.Send(&runtimeapi.StreamContainersResponse{Containers: batch})
	})
}

// StreamContainerStats measures the containers that match a filter.
func (s *Server) StreamContainerStats(req *runtimeapi.StreamContainerStatsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamContainerStatsResponse]) error {
	stats, err := s.containerStats(stream.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendBatches(stream.Context(), stats, func(batch []*runtimeapi.ContainerStats) error {
		return stream.Send(&runtimeapi.StreamContainerStatsResponse{ContainerStats: batch})
	})
}

// StreamPodSandboxStats measures the pods that match a filter, except stopped ones.
func (s *Server) StreamPodSandboxStats(req *runtimeapi.StreamPodSandboxStatsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxStatsResponse]) error {
	stats, err := s.podStats(stream.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendBatches(stream.Context(), stats, func(batch []*runtimeapi.PodSandboxStats) error {
		return stream.Send(&runtimeapi.StreamPodSandboxStatsResponse{PodSandboxStats: batch})
	})
}

// StreamPodSandboxMetrics returns the metrics of all pods that are not stopped.
func (s *Server) StreamPodSandboxMetrics(_ *runtimeapi.StreamPodSandboxMetricsRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxMetricsResponse]) error {
	metrics, err := s.podMetrics(stream.Context())
	if err != nil {
		return err
	}
	return sendBatches(stream.Context(), metrics, func(batch []*runtimeapi.PodSandboxMetrics) error {
		return stream.Send(&runtimeapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: batch})
	})
}

// StreamImages lists the images that match a filter.
func (s *Server) StreamImages(req *runtimeapi.StreamImagesRequest, stream grpc.ServerStreamingServer[runtimeapi.StreamImagesResponse]) error {
	images, err := s.Images.List(stream.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendBatches(stream.Context(), images, func(batch []*runtimeapi.Image) error {
		return stream.Send(&runtimeapi.StreamImagesResponse{Images: batch})
	})
}

// sendBatches sends each item once, in order, with as many items in a message as fit into
// batchBytes. It returns when ctx is done.
func sendBatches[T proto.Message](ctx context.Context, items []T, send func([]T) error) error {
	for len(items) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := batchLen(items)
		if err := send(items[:next]); err != nil {
			return err
		}
		items = items[next:]
	}
	return nil
}

// batchLen returns how many of items fit into one message. items is not empty; an item that exceeds
// batchBytes is sent alone.
func batchLen[T proto.Message](items []T) int {
	weight := 0
	for i, item := range items {
		weight += protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(item))
		if weight > batchBytes && i > 0 {
			return i
		}
	}
	return len(items)
}
