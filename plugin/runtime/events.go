// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/typeurl/v2"
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
	// Announce tells the end of a container's init process.
	Announce(e Exit)
	// AnnounceOOM tells that the kernel has killed a process of a container for
	// want of memory.
	AnnounceOOM(id string)
}

// Observe tells an observer until ctx ends. It sees no more than what happens
// after it was called.
func (c *Client) Observe(ctx context.Context, o Observer) error {
	envelopes, failed := c.containerd.EventService().Subscribe(ctx, `topic=="/tasks/exit"`, `topic=="/tasks/oom"`)
	for {
		select {
		case envelope := <-envelopes:
			event, err := typeurl.UnmarshalAny(envelope.Event)
			if err != nil {
				return fmt.Errorf("task events: %w", err)
			}
			tell(o, event)
		case err := <-failed:
			if err == nil { // ctx has ended
				return nil
			}
			return fmt.Errorf("task events: %w", err)
		}
	}
}

func tell(o Observer, event any) {
	switch e := event.(type) {
	case *events.TaskOOM:
		o.AnnounceOOM(e.GetContainerID())
	case *events.TaskExit:
		if e.GetID() == e.GetContainerID() {
			o.Announce(Exit{ID: e.GetContainerID(), Code: e.GetExitStatus(), At: e.GetExitedAt().AsTime()})
		}
	}
}
