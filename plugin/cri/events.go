// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"cmp"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/event"
)

// GetContainerEvents sends events of pods and containers from now on, until the caller disconnects
// (KEP-3386). The stream's headers are sent when the subscription has begun: a caller that waits
// for them and then lists misses no event. A caller that reads too slowly is disconnected with
// ResourceExhausted, and has to list again.
func (s *Server) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	ctx := stream.Context()
	subscription := s.Events.Subscribe(s.stateOf)
	defer subscription.Close()
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		e, err := subscription.Next(ctx)
		if err == nil {
			err = stream.Send(s.containerEvent(e))
		}
		if ctx.Err() != nil {
			return nil // the caller has disconnected: the normal end of a subscription
		}
		if err != nil {
			return err
		}
	}
}

func (s *Server) containerEvent(e event.Event) *runtimeapi.ContainerEventResponse {
	answer := &runtimeapi.ContainerEventResponse{
		ContainerId:        e.ID,
		ContainerEventType: e.Kind,
		CreatedAt:          e.CreatedAt,
		ContainersStatuses: s.containerStatuses(e.State.Containers),
	}
	if e.State.Pod != nil {
		answer.PodSandboxStatus = podStatus(e.State.Pod)
	}
	return answer
}

// containerStatuses returns the statuses of a pod's containers, newest first: if a container has
// several attempts, the kubelet considers the first in the list the current one.
func (s *Server) containerStatuses(records []*container.Record) []*runtimeapi.ContainerStatus {
	newest := slices.SortedStableFunc(slices.Values(records), func(a, b *container.Record) int {
		return cmp.Compare(b.Times.Created, a.Times.Created)
	})
	var statuses []*runtimeapi.ContainerStatus
	for _, r := range newest {
		statuses = append(statuses, s.containerStatus(r))
	}
	return statuses
}

// stateOf returns a pod and its containers as they were at one moment. It reads until two reads
// return the same records: records are immutable and an old one never returns, so nothing has
// changed between the two reads.
func (s *Server) stateOf(podID string) event.State {
	for last := s.readState(podID); ; {
		next := s.readState(podID)
		if next.Pod == last.Pod && slices.Equal(next.Containers, last.Containers) {
			return next
		}
		last = next
	}
}

func (s *Server) readState(podID string) event.State {
	p, err := s.Pods.Get(podID)
	if err != nil {
		p = nil // removed
	}
	return event.State{Pod: p, Containers: s.Containers.OfPod(podID)}
}
