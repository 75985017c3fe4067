// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// events are the events that a subscriber has received: for each pod and container, the kinds of
// its events in their order.
type events struct {
	cancel context.CancelFunc
	ended  chan error

	mu   sync.Mutex
	all  map[string][]runtimeapi.ContainerEventType
	last int64 // time of the last event
}

// subscribe starts a subscription before the first call.
func (r *run) subscribe() *events {
	ctx, cancel := context.WithCancel(r.Context())
	e := &events{cancel: cancel, ended: make(chan error, 1), all: map[string][]runtimeapi.ContainerEventType{}}
	stream, err := r.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err == nil {
		_, err = stream.Header() // sent when the subscription has begun
	}
	if err != nil {
		r.Fatal(err)
	}
	go func() {
		for {
			event, err := stream.Recv()
			if err != nil {
				e.ended <- err
				return
			}
			e.hear(r, event)
		}
	}()
	return e
}

func (e *events) hear(r *run, event *runtimeapi.ContainerEventResponse) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[event.ContainerId] = append(e.all[event.ContainerId], event.ContainerEventType)
	if event.CreatedAt <= e.last {
		r.Errorf("event %v is not later than the previous one", event)
	}
	e.last = event.CreatedAt
}

// heard reports whether an event of this kind was received for an object.
func (e *events) heard(id string, kind runtimeapi.ContainerEventType) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, heard := range e.all[id] {
		if heard == kind {
			return true
		}
	}
	return false
}

// checkEvents checks that for every observed object each event was received once and in order, up
// to the last one.
func (r *run) checkEvents(e *events) {
	for id := range r.history.objects {
		if err := harness.Await(r.Context(), func() error {
			if !e.heard(id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT) {
				return status.Error(codes.NotFound, "no deletion event of "+id)
			}
			return nil
		}); err != nil {
			r.Error(err)
		}
	}
	e.cancel()
	if err := <-e.ended; status.Code(err) != codes.Canceled {
		r.Errorf("the event stream ended early: %v", err)
	}
	for id, kinds := range e.all {
		for i := range kinds[1:] {
			// The values of the kinds increase in the order of a life.
			if kinds[i] >= kinds[i+1] {
				r.Errorf("events of %s: %v, want each once and in order", id, kinds)
			}
		}
	}
	for id, o := range r.history.objects {
		for kind, want := range map[runtimeapi.ContainerEventType]bool{
			runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT: true,
			runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT: o.started,
			runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT: o.started,
		} {
			if want && !e.heard(id, kind) {
				r.Errorf("no %s of %s: %v", kind, id, e.all[id])
			}
		}
	}
}
