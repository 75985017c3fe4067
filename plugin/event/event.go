// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// queueLimit is how many events may wait for a subscriber. It exceeds the number of events when all
// pods of a full node end at once. The records in the events are those of the store, not copies.
const queueLimit = 2048

// maxSubscribers bounds the number of subscriptions: each has a queue, and each event takes time
// per subscription. A kubelet has one.
const maxSubscribers = 64

// Event is one change of a pod or container.
type Event struct {
	Kind      runtimeapi.ContainerEventType
	ID        string // of the container; of the pod for events of the pod itself
	CreatedAt int64  // Unix nanoseconds; strictly increasing
	State     State  // of the pod, after the change
}

// State is a pod with its containers.
type State struct {
	Pod        *pod.Record
	Containers []*container.Record
}

// Hub passes events from the managers to the subscribers.
type Hub struct {
	now func() time.Time

	mu          sync.Mutex
	last        int64 // CreatedAt of the last event
	closed      bool
	subscribers map[*Subscription]struct{}
}

// NewHub returns a hub without subscribers.
func NewHub(now func() time.Time) *Hub {
	return &Hub{now: now, subscribers: map[*Subscription]struct{}{}}
}

// PublishPod publishes an event of a pod. For a deleted pod the event carries r, its last record:
// the kubelet ignores an event without the metadata of the pod.
func (h *Hub) PublishPod(kind runtimeapi.ContainerEventType, r *pod.Record) {
	h.publish(Event{Kind: kind, ID: r.ID, State: State{Pod: r}}, r.ID)
}

// PublishContainer publishes an event of a container.
func (h *Hub) PublishContainer(kind runtimeapi.ContainerEventType, r *container.Record) {
	h.publish(Event{Kind: kind, ID: r.ID}, r.PodID)
}

func (h *Hub) publish(e Event, podID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subscribers) == 0 {
		return
	}
	h.last = max(h.last+1, h.now().UnixNano())
	e.CreatedAt = h.last
	last := e.State.Pod
	for s := range h.subscribers {
		// A panic while the state is read ends the subscription, not the publisher's call.
		state, err := guard.Value(context.Background(), "state of pod "+podID, func() (State, error) { return s.read(podID), nil })
		if err != nil {
			s.end(err)
			continue
		}
		if e.State = state; e.State.Pod == nil {
			e.State.Pod = last
		}
		s.add(e)
	}
}

// Subscribe begins a subscription to all events from now on. read returns the state of a pod; it
// must not block. Next returns Unavailable if the hub is closed, and ResourceExhausted if there are
// maxSubscribers already.
func (h *Hub) Subscribe(read func(podID string) State) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Subscription{hub: h, read: read, wake: make(chan struct{}, 1)}
	if h.closed {
		s.end(errClosed)
		return s
	}
	if len(h.subscribers) >= maxSubscribers {
		s.end(errTooMany)
		return s
	}
	h.subscribers[s] = struct{}{}
	return s
}

// Close ends all subscriptions. Later ones end at once.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subscribers {
		s.end(errClosed)
	}
}

var (
	errClosed  = fmt.Errorf("the daemon is shutting down: %w", errdefs.ErrUnavailable)
	errTooMany = fmt.Errorf("all %d event subscriptions are in use (end one, such as crictl events): %w", maxSubscribers, errdefs.ErrResourceExhausted)
	errBehind  = fmt.Errorf("subscriber is %d events behind and missed some (subscribe again, then list): %w", queueLimit, errdefs.ErrResourceExhausted)
)

// Subscription is a bounded queue of events for one reader.
type Subscription struct {
	hub  *Hub
	read func(podID string) State
	wake chan struct{} // has a value after a change of the fields below

	// Guarded by Hub.mu.
	queue []Event
	err   error // why there are no more events
}

// Next returns the next event, and waits for it if the queue is empty. The error is
// ResourceExhausted if the subscriber fell too far behind, Unavailable if the hub is closed, or
// that of ctx.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := s.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// take removes and returns the first event of the queue, if there is one.
func (s *Subscription) take() (e Event, ok bool, err error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.err != nil || len(s.queue) == 0 {
		return Event{}, false, s.err
	}
	e, s.queue[0] = s.queue[0], Event{}
	s.queue = s.queue[1:]
	return e, true, nil
}

// Close ends the subscription. It is idempotent.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.end(context.Canceled)
}

// add queues an event. The caller holds Hub.mu.
func (s *Subscription) add(e Event) {
	if len(s.queue) == queueLimit {
		s.end(errBehind)
		return
	}
	s.queue = append(s.queue, e)
	s.signal()
}

// end drops the queue and makes Next return why. The caller holds Hub.mu.
func (s *Subscription) end(why error) {
	delete(s.hub.subscribers, s)
	if errors.Is(why, errBehind) {
		metrics.EventsDropped.Add(float64(len(s.queue)))
	}
	s.queue = nil
	if s.err == nil {
		s.err = why
	}
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // the reader has an unread signal
	}
}
