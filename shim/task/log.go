// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
)

// logs returns the service for shim-written logs, see package containerlog.
func (s *Service) logs() *ttrpc.ServiceDesc {
	return &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{containerlog.MethodReopen: method(s.reopenLog)},
		Streams: map[string]ttrpc.Stream{
			containerlog.Stdout: s.follow(containerlog.Stdout),
			containerlog.Stderr: s.follow(containerlog.Stderr),
		},
	}
}

func (s *Service) reopenLog(_ context.Context, r *taskapi.ConnectRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.init.streams.ReopenLog(); err != nil {
		return nil, fmt.Errorf("container %s: %w", c.id, err)
	}
	return &emptypb.Empty{}, nil
}

// follow returns the method that streams one output of a task to a client.
func (s *Service) follow(name string) ttrpc.Stream {
	return stream("follow "+name, func(ctx context.Context, r *taskapi.ConnectRequest, send sender) (proto.Message, error) {
		c, err := s.tasks.get(r.ID)
		if err != nil {
			return nil, err
		}
		return nil, c.init.streams.Follow(ctx, name, func(chunk []byte) error { return send(wrapperspb.Bytes(chunk)) })
	})
}
