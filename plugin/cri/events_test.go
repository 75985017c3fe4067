// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// subscribe returns a stream of events whose subscription has begun.
func subscribe(t *testing.T, c runtimeapi.RuntimeServiceClient) runtimeapi.RuntimeService_GetContainerEventsClient {
	t.Helper()
	stream, err := c.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestEventHasThePodAndAllItsContainers(t *testing.T) {
	s := withSomePods(t)
	stream := subscribe(t, dial(t, s))
	r, err := s.Containers.Get("ccb2")
	if err != nil {
		t.Fatal(err)
	}
	s.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, r)
	e, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if e.GetContainerId() != "ccb2" || e.GetContainerEventType() != runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT || e.GetCreatedAt() == 0 {
		t.Errorf("event = %v", e)
	}
	if p := e.GetPodSandboxStatus(); p.GetId() != "aaa1" || p.GetMetadata().GetName() != "aaa1" || p.GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("pod = %v", p)
	}
	got := ids(e.GetContainersStatuses(), (*runtimeapi.ContainerStatus).GetId)
	if strings.Join(got, " ") != "ccb2 cca1" {
		t.Fatalf("containers = %v, want those of the pod, the newest first", got)
	}
	if state := e.GetContainersStatuses()[0].GetState(); state != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("the stopped container is %s", state)
	}
}

// The kubelet ignores an event without a pod id.
func TestEventOfADeletedPodHasThePod(t *testing.T) {
	s := withSomePods(t)
	stream := subscribe(t, dial(t, s))
	gone := testPod()
	s.Events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, gone)
	e, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if p := e.GetPodSandboxStatus(); p.GetId() != gone.ID || p.GetMetadata().GetUid() != "u1" || e.GetContainerId() != gone.ID {
		t.Errorf("event = %v", e)
	}
}

func TestSlowReaderOfEventsIsDisconnected(t *testing.T) {
	s := withSomePods(t)
	stream := subscribe(t, dial(t, s))
	r, err := s.Containers.Get("ccb2")
	if err != nil {
		t.Fatal(err)
	}
	const events = 10000 // more than fit into the queue and the connection
	for range events {
		s.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, r)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the stream ended with %v, want ResourceExhausted", err)
	}
}

func TestEventsEndWithTheDaemon(t *testing.T) {
	s := withSomePods(t)
	stream := subscribe(t, dial(t, s))
	s.Events.Close()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after Close: %v, want Unavailable", err)
	}
}

// The end of a subscription by its subscriber is not an error.
func TestEventsEndWithTheSubscriber(t *testing.T) {
	s := withSomePods(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream := &fakeEvents{ctx: ctx, begun: make(chan struct{})}
	ended := make(chan error)
	go func() { ended <- s.GetContainerEvents(nil, stream) }()
	<-stream.begun
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("GetContainerEvents = %v", err)
	}
}

// fakeEvents is the server side of an event stream.
type fakeEvents struct {
	grpc.ServerStream
	ctx   context.Context
	begun chan struct{}
}

func (f *fakeEvents) Context() context.Context                      { return f.ctx }
func (f *fakeEvents) SendHeader(metadata.MD) error                  { close(f.begun); return nil }
func (f *fakeEvents) Send(*runtimeapi.ContainerEventResponse) error { return nil }
