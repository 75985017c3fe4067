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
	// resubscribeDelay is the pause before events are asked for again.
	resubscribeDelay = time.Second
	// eventTimeout bounds what one event may take.
	eventTimeout = 10 * time.Second
)

// feed is a subscription to image events.
type feed struct {
	events <-chan *events.Envelope
	errs   <-chan error
	end    context.CancelFunc
}

// subscribe asks for the events of all images. It comes before the images are
// read, so that no change falls between the two.
func (m *Manager) subscribe(ctx context.Context) feed {
	var f feed
	ctx, f.end = context.WithCancel(ctx)
	f.events, f.errs = m.deps.Events.Subscribe(ctx, `namespace==`+namespace+`,topic~="^/images/"`)
	return f
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

// watch keeps the index up to date until ctx ends. A subscription that breaks, or an
// event that causes a panic, is followed by another subscription, and the images are
// read again.
func (m *Manager) watch(ctx context.Context, f feed) {
	for {
		err := guard.Call(ctx, "image events", func() error { return m.follow(ctx, f) })
		f.end()
		if ctx.Err() != nil {
			return
		}
		log.G(ctx).WithError(err).Warn("image events ended, subscribing again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(resubscribeDelay):
		}
		f = m.subscribe(ctx)
		if err := guard.Call(ctx, "read images", func() error { return m.reload(ctx) }); err != nil {
			log.G(ctx).WithError(err).Warn("images could not be read again, the list may be late")
		}
	}
}

// follow handles events until the subscription or ctx ends.
func (m *Manager) follow(ctx context.Context, f feed) error {
	for {
		select {
		case envelope := <-f.events:
			m.observe(ctx, envelope)
		case err := <-f.errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// observe takes an event as a hint to look at an image again.
func (m *Manager) observe(ctx context.Context, envelope *events.Envelope) {
	name := imageOf(ctx, envelope)
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if err := m.index.refresh(ctx, name); err != nil {
		if !errdefs.IsNotFound(err) {
			log.G(ctx).WithField("image", name).WithError(err).Warn("image is left out: its content is incomplete or not an image")
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
		log.G(ctx).WithField("topic", envelope.Topic).WithError(err).Warn("image event is not understood")
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
