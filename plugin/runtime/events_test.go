// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"testing"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/events/exchange"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// recorder is an observer that records the IDs of exits, and panics for the ID "bad".
type recorder chan string

func (h recorder) OnExit(e Exit) {
	if e.ID == "bad" {
		panic(e.ID)
	}
	h <- e.ID
}

func (recorder) OnOOM(string) {}

// The subscription continues after an event that causes a panic or cannot be decoded.
func TestObserveGoesOnAfterABadEvent(t *testing.T) {
	bus := exchange.NewExchange()
	client, err := containerd.New("", containerd.WithServices(containerd.WithEventService(bus)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(t.Context(), "k8s.io"))
	observed := make(recorder, 10)
	ended := guard.Start(ctx, "observe", func() error { return New(client, nil).Observe(ctx, observed) })
	exit := func(id string) {
		if err := bus.Publish(ctx, "/tasks/exit", &eventtypes.TaskExit{ContainerID: id, ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for len(observed) == 0 { // until Observe has subscribed
		exit("first")
	}
	exit("bad")
	unknown := &events.Envelope{Topic: "/tasks/exit", Namespace: "k8s.io", Timestamp: time.Now(), Event: &anypb.Any{TypeUrl: "no.such.type"}}
	if err := bus.Forward(ctx, unknown); err != nil {
		t.Fatal(err)
	}
	exit("last")
	for id := <-observed; id != "last"; {
		id = <-observed
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Observe = %v", err)
	}
}
