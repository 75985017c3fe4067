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

// Exit is the end of a container's init process as containerd announces it.
type Exit struct {
	ID   string // of the container
	Code uint32
	At   time.Time
}

// Observer is told what containerd announces of the tasks of containers. What is
// announced of one task comes in its order, an out-of-memory kill before the exit.
type Observer interface {
	// OnExit is called when the init process of a container has exited.
	OnExit(e Exit)
	// OnOOM is called when the kernel has OOM-killed a process of a container.
	OnOOM(id string)
}

// Observe tells an observer until ctx ends. It sees no more than what happens
// after it was called.
func (c *Client) Observe(ctx context.Context, o Observer) error {
	envelopes, failed := c.containerd.EventService().Subscribe(ctx, `topic=="/tasks/exit"`, `topic=="/tasks/oom"`)
	for {
		select {
		case envelope := <-envelopes:
			// Shims write events, and so does anybody who is root: a bad one is not the end of the
			// others.
			err := guard.Call(ctx, "task event", func() error { return tell(o, envelope) })
			if err != nil {
				log.G(ctx).WithError(err).WithField("topic", envelope.Topic).Warn("task event is not understood; the exit of a container whose shim has died may be unknown")
			}
		case err := <-failed:
			if err == nil { // ctx has ended
				return nil
			}
			return fmt.Errorf("task events: %w", err)
		}
	}
}

func tell(o Observer, envelope *events.Envelope) error {
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
