// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"fmt"
	"net"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// errRefused means that containerd returned an error for the event, or that sending it panicked.
// The error of an unreachable containerd is not errRefused.
var errRefused = errors.New("rejected by containerd")

// sender is a client of containerd's events service.
type sender struct {
	path   string
	client *ttrpc.Client
}

// send sends an event over the connection that connect has opened. If that connection is lost, send
// closes the client, so that the next connect dials again.
func (s *sender) send(ctx context.Context, e *types.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := guard.Call(ctx, "send event "+e.GetTopic(), func() error { return s.forward(ctx, e) })
	if caught := (*guard.Panic)(nil); errors.As(err, &caught) {
		s.client = nil // the client may have caused the panic
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

func (s *sender) forward(ctx context.Context, e *types.Envelope) error {
	_, err := eventsapi.NewTTRPCEventsClient(s.client).Forward(ctx, &eventsapi.ForwardRequest{Envelope: e})
	if err == nil {
		return nil
	}
	if st, answered := status.FromError(err); answered && st.Code() != codes.Unavailable {
		return fmt.Errorf("forward event: %w: %w", errRefused, err)
	}
	s.close()
	return fmt.Errorf("forward event: %w", err)
}

// connect connects, unless a connection is open.
func (s *sender) connect(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	s.client = ttrpc.NewClient(conn)
	return nil
}

func (s *sender) close() {
	if s.client != nil {
		_ = s.client.Close()
		s.client = nil
	}
}
