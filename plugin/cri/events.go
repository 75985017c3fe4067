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

// GetContainerEvents tells what becomes of pods and containers from now on, until the
// caller goes (KEP-3386). The stream's headers arrive when the subscription has begun: who
// waits for them and lists then misses nothing. A caller that reads too slowly is cut off
// with ResourceExhausted, and has to list.
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
			return nil // nobody listens any more, which is how a subscription ends
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

// containerStatuses are the statuses of a pod's containers, newest first: of several
// attempts of one container the kubelet takes the first for the current one.
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

// stateOf returns a pod and its containers as they were at one moment: a record that has
// changed never becomes again what it was, so two reads that agree enclose one.
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
		p = nil // it is gone
	}
	return event.State{Pod: p, Containers: s.Containers.OfPod(podID)}
}
