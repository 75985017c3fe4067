// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	created = runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT
	stopped = runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT
	deleted = runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT
)

// fixed is a clock that always shows the same time.
func fixed() time.Time { return time.Unix(100, 0) }

func nothing(string) State { return State{} }

func aContainer(id string) *container.Record { return &container.Record{ID: id, PodID: "pod1"} }

func next(t *testing.T, s *Subscription) Event {
	t.Helper()
	e, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEventsHaveTheirOrderAndTheStateOfThePod(t *testing.T) {
	h := NewHub(fixed)
	web := &pod.Record{ID: "pod1"}
	state := State{Pod: web}
	s := h.Subscribe(func(id string) State {
		if id != "pod1" {
			t.Errorf("state of %q was read, want pod1", id)
		}
		return state
	})
	defer s.Close()
	h.PublishPod(created, web)
	app := aContainer("c1")
	state.Containers = []*container.Record{app}
	h.PublishContainer(created, app)
	state = State{}
	h.PublishPod(deleted, web)

	start := fixed().UnixNano()
	want := []Event{
		{created, "pod1", start, State{Pod: web}},
		{created, "c1", start + 1, State{web, []*container.Record{app}}},
		{deleted, "pod1", start + 2, State{Pod: web}}, // its last record
	}
	for _, w := range want {
		same := cmp.Comparer(func(a, b *pod.Record) bool { return a == b })
		if diff := cmp.Diff(w, next(t, s), same, cmp.Comparer(func(a, b *container.Record) bool { return a == b })); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	}
}

func TestStateIsNotReadWithoutSubscriber(t *testing.T) {
	h := NewHub(fixed)
	read := func(string) State { t.Error("the state of a pod is read without a subscriber"); return State{} }
	h.PublishContainer(created, aContainer("c1"))
	s := h.Subscribe(read)
	s.Close()
	h.PublishContainer(created, aContainer("c2"))
	if _, err := s.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Next of a closed subscription: %v", err)
	}
}

// A subscriber that does not read is ended when its queue is full. Others are not affected.
func TestSlowSubscriberIsCutOff(t *testing.T) {
	h := NewHub(fixed)
	slow, fast := h.Subscribe(nothing), h.Subscribe(nothing)
	defer fast.Close()
	for i := range queueLimit + 1 {
		id := fmt.Sprintf("c%d", i)
		h.PublishContainer(created, aContainer(id))
		if e := next(t, fast); e.ID != id {
			t.Fatalf("fast subscriber: %s, want %s", e.ID, id)
		}
	}
	if _, err := slow.Next(t.Context()); !errdefs.IsResourceExhausted(err) {
		t.Errorf("Next of a subscriber %d events behind: %v, want ResourceExhausted", queueLimit+1, err)
	}
	if slow.queue != nil || len(h.subscribers) != 1 {
		t.Errorf("the hub keeps %d events and %d subscribers", len(slow.queue), len(h.subscribers))
	}
	h.PublishContainer(stopped, aContainer("c1"))
	if e := next(t, fast); e.Kind != stopped {
		t.Errorf("fast subscriber: %v", e)
	}
}

func TestFullQueueIsNotCutOff(t *testing.T) {
	h := NewHub(fixed)
	s := h.Subscribe(nothing)
	defer s.Close()
	for i := range queueLimit {
		h.PublishContainer(created, aContainer(fmt.Sprint(i)))
	}
	for i := range queueLimit {
		if e := next(t, s); e.ID != fmt.Sprint(i) {
			t.Fatalf("event %d is of %s", i, e.ID)
		}
	}
}

func TestNextEndsWithItsContextAndWithTheHub(t *testing.T) {
	h := NewHub(fixed)
	s := h.Subscribe(nothing)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := s.Next(ctx); ended <- err }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Next after the end of its context: %v", err)
	}
	go func() { _, err := s.Next(t.Context()); ended <- err }()
	h.Close()
	if err := <-ended; !errdefs.IsUnavailable(err) {
		t.Errorf("Next after Close of the hub: %v, want Unavailable", err)
	}
	if _, err := h.Subscribe(nothing).Next(t.Context()); !errdefs.IsUnavailable(err) {
		t.Errorf("Subscribe after Close of the hub: %v, want Unavailable", err)
	}
	h.PublishContainer(created, aContainer("c1"))
}

// With concurrent publishers each subscriber gets every event once, in the order per object, with
// increasing times.
func TestManyPublishersAndSubscribers(t *testing.T) {
	const objects, steps, subscribers = 16, 100, 3 // fewer than queueLimit
	h := NewHub(time.Now)
	var all sync.WaitGroup
	for range subscribers {
		s := h.Subscribe(nothing)
		all.Go(func() {
			defer s.Close()
			seen, last := map[string]int32{}, int64(0)
			for range objects * steps {
				e, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if e.CreatedAt <= last || int32(e.Kind) != seen[e.ID] {
					t.Errorf("step %d of %s at %d follows step %d and the time %d", e.Kind, e.ID, e.CreatedAt, seen[e.ID]-1, last)
				}
				seen[e.ID]++
				last = e.CreatedAt
			}
		})
	}
	for object := range objects {
		all.Go(func() {
			for step := range steps {
				h.PublishContainer(runtimeapi.ContainerEventType(step), aContainer(fmt.Sprint(object)))
			}
		})
	}
	all.Wait()
}

// A panic in a subscriber's read function ends its subscription only; other subscribers get the
// event.
func TestPanicEndsOneSubscription(t *testing.T) {
	h := NewHub(fixed)
	bad := h.Subscribe(func(string) State { panic("boom") })
	good := h.Subscribe(nothing)
	defer good.Close()
	h.PublishContainer(created, aContainer("c1"))
	if _, err := bad.Next(t.Context()); !errdefs.IsInternal(err) {
		t.Errorf("Next = %v, want Internal", err)
	}
	for _, id := range []string{"c1", "c2"} {
		if e := next(t, good); e.ID != id {
			t.Errorf("event of %s, want %s", e.ID, id)
		}
		h.PublishContainer(created, aContainer("c2"))
	}
}

// The number of subscriptions is limited, and closing one allows another.
func TestSubscribersAreBounded(t *testing.T) {
	h := NewHub(time.Now)
	read := func(string) State { return State{} }
	var all []*Subscription
	for range maxSubscribers {
		all = append(all, h.Subscribe(read))
	}
	if _, err := h.Subscribe(read).Next(t.Context()); !errdefs.IsResourceExhausted(err) {
		t.Errorf("Next of subscription %d+1: %v, want ResourceExhausted", maxSubscribers, err)
	}
	all[0].Close()
	s := h.Subscribe(read)
	h.PublishPod(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, &pod.Record{ID: "p"})
	if e, err := s.Next(t.Context()); err != nil || e.ID != "p" {
		t.Errorf("Next after another was closed: %v, %v", e, err)
	}
}
