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

// Exits calls seen for the end of each container's init process, until ctx
// ends. It sees no more than what happens after it was called.
func (c *Client) Exits(ctx context.Context, seen func(Exit)) error {
	envelopes, failed := c.containerd.EventService().Subscribe(ctx, `topic=="/tasks/exit"`)
	for {
		select {
		case envelope := <-envelopes:
			event, err := typeurl.UnmarshalAny(envelope.Event)
			if err != nil {
				return fmt.Errorf("task events: %w", err)
			}
			if e, ok := event.(*events.TaskExit); ok && e.GetID() == e.GetContainerID() {
				seen(Exit{ID: e.GetContainerID(), Code: e.GetExitStatus(), At: e.GetExitedAt().AsTime()})
			}
		case err := <-failed:
			if err == nil { // ctx has ended
				return nil
			}
			return fmt.Errorf("task events: %w", err)
		}
	}
}
