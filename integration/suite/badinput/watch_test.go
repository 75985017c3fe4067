// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	eventapi "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// marker is the topic of the test's own events. A marker arrives after all events that were
// published before it.
const marker = "/bench/marker"

// watcher receives containerd's events about snapshots, containers, tasks and images.
type watcher struct {
	client *containerd.Client
	seen   <-chan string // topics; of a marker, with its number
	marks  *int
}

func (b bench) watch(t *testing.T) watcher {
	t.Helper()
	client, err := b.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctx, cancel := context.WithCancel(harness.After(t))
	t.Cleanup(cancel)
	seen := make(chan string)
	envelopes, _ := client.EventService().Subscribe(ctx)
	go pass(ctx, envelopes, seen)
	w := watcher{client, seen, new(int)}
	// The subscription begins some time after the call returns. After the first received marker, no
	// event is missed.
	if err := harness.Await(ctx, func() error { return w.sees(ctx) }); err != nil {
		t.Fatal(err)
	}
	return w
}

// pass sends the topics of events to seen until ctx ends.
func pass(ctx context.Context, envelopes <-chan *events.Envelope, seen chan<- string) {
	for {
		select {
		case e := <-envelopes:
			select {
			case seen <- describe(e):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// describe returns the topic of an event, with the number if it is a marker.
func describe(e *events.Envelope) string {
	if e.Topic != marker {
		return e.Topic
	}
	event, err := typeurl.UnmarshalAny(e.Event)
	if paused, ok := event.(*eventapi.TaskPaused); ok {
		return marker + " " + paused.ContainerID
	}
	return fmt.Sprintf("%T: %v", event, err)
}

func (w watcher) sees(ctx context.Context) error {
	if _, err := w.mark(ctx); err != nil {
		return err
	}
	select {
	case <-w.seen:
		return nil
	default:
		return errors.New("no containerd events received")
	}
}

// mark publishes a marker and returns its description.
func (w watcher) mark(ctx context.Context) (string, error) {
	*w.marks++
	id := strconv.Itoa(*w.marks)
	err := w.client.EventService().Publish(ctx, marker, &eventapi.TaskPaused{ContainerID: id})
	return marker + " " + id, err
}

// happened returns the topics of events since its last call.
func (w watcher) happened(t *testing.T) (topics []string) {
	t.Helper()
	last, err := w.mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case topic := <-w.seen:
			if topic == last {
				return topics
			}
			if !strings.HasPrefix(topic, marker) {
				topics = append(topics, topic)
			}
		case <-t.Context().Done():
			t.Fatal("the stream of containerd's events has ended")
		}
	}
}

func (w watcher) nothingHappened(t *testing.T) {
	t.Helper()
	if topics := w.happened(t); len(topics) > 0 {
		t.Errorf("a refused request had effects: %v", topics)
	}
}
