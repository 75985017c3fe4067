// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"maps"
	"slices"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// resubscribeDelay is the pause before the next subscription to events.
	resubscribeDelay = time.Second
	// eventTimeout bounds the handling of one event.
	eventTimeout = 10 * time.Second
)

// subscription is a subscription to image events.
type subscription struct {
	events <-chan *events.Envelope
	errs   <-chan error
	cancel context.CancelFunc
}

// subscribe subscribes to the events of all images. Call it before the images are read, so that no
// change is missed between the two.
func (m *Manager) subscribe(ctx context.Context) subscription {
	var s subscription
	ctx, s.cancel = context.WithCancel(ctx)
	s.events, s.errs = m.deps.Events.Subscribe(ctx, `namespace==`+namespace+`,topic~="^/images/"`)
	return s
}

// reload reads all images and adopts those of other tools.
func (m *Manager) reload(ctx context.Context) error {
	if err := m.index.rebuild(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.index.view.Load().byName)) {
		m.adopt(ctx, name)
	}
	return nil
}

// watch keeps the index up to date until ctx ends. If the subscription breaks, or an event causes a
// panic, watch subscribes and reads all images again.
func (m *Manager) watch(ctx context.Context, s subscription) {
	for {
		err := guard.Call(ctx, "image events", func() error { return m.follow(ctx, s) })
		s.cancel()
		if ctx.Err() != nil {
			return
		}
		log.G(ctx).WithError(err).Warn("image events interrupted; subscribing again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(resubscribeDelay):
		}
		s = m.subscribe(ctx)
		if err := guard.Call(ctx, "read images", func() error { return m.reload(ctx) }); err != nil {
			log.G(ctx).WithError(err).Warn("images not read again; the image list may be out of date")
		}
	}
}

// follow handles events until the subscription or ctx ends.
func (m *Manager) follow(ctx context.Context, s subscription) error {
	for {
		select {
		case envelope := <-s.events:
			m.handleEvent(ctx, envelope)
		case err := <-s.errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handleEvent reads the image of an event again and adopts it. The content of the event is not
// used.
func (m *Manager) handleEvent(ctx context.Context, envelope *events.Envelope) {
	name := imageOf(ctx, envelope)
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if err := m.index.refresh(ctx, name); err != nil {
		if !errdefs.IsNotFound(err) {
			log.G(ctx).WithField("image", name).WithError(err).Warn("image not read after its event; the image list may lack it or its change")
		}
		return
	}
	m.adopt(ctx, name)
}

// imageOf returns the name of the image that an event is about.
func imageOf(ctx context.Context, envelope *events.Envelope) string {
	if envelope == nil {
		return ""
	}
	event, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		log.G(ctx).WithField("topic", envelope.Topic).WithError(err).Warn("image event not decoded; the image list may be out of date")
		return ""
	}
	switch e := event.(type) {
	case *eventtypes.ImageCreate:
		return e.GetName()
	case *eventtypes.ImageUpdate:
		return e.GetName()
	case *eventtypes.ImageDelete:
		return e.GetName()
	default:
		return ""
	}
}
