// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Exit is the exit of a container's init process in an event of containerd.
type Exit struct {
	ID   string // of the container
	Code uint32
	At   time.Time
}

// Observer receives containerd's events of tasks. Those of one task come in order, an OOM event
// before the exit.
type Observer interface {
	// OnExit is called when the init process of a container has exited.
	OnExit(e Exit)
	// OnOOM is called when the kernel has OOM-killed a process of a container.
	OnOOM(id string)
}

// Observe passes events to an observer until ctx ends. It does not pass events from before the
// call.
func (c *Client) Observe(ctx context.Context, o Observer) error {
	envelopes, failed := c.containerd.EventService().Subscribe(ctx, `topic=="/tasks/exit"`, `topic=="/tasks/oom"`)
	for {
		select {
		case envelope := <-envelopes:
			// Shims and other programs of root publish events: an invalid one must not stop the
			// subscription.
			err := guard.Call(ctx, "task event", func() error { return dispatch(o, envelope) })
			if err != nil {
				log.G(ctx).WithError(err).WithField("topic", envelope.Topic).Warn("task event cannot be decoded; the exit of a container whose shim died may stay unknown")
			}
		case err := <-failed:
			if err == nil { // ctx has ended
				return nil
			}
			return fmt.Errorf("task events: %w", err)
		}
	}
}

func dispatch(o Observer, envelope *events.Envelope) error {
	event, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case *eventtypes.TaskOOM:
		o.OnOOM(e.GetContainerID())
	case *eventtypes.TaskExit:
		if e.GetID() == e.GetContainerID() {
			o.OnExit(Exit{ID: e.GetContainerID(), Code: e.GetExitStatus(), At: e.GetExitedAt().AsTime()})
		}
	}
	return nil
}
