// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
)

// tasksService is containerd's tasks service with one task, whose process has ended. Its Delete
// fails.
type tasksService struct {
	tasks.TasksClient // nil
	// lost is set if the Delete fails because the shim exits, and containerd forgets the task.
	lost  bool
	asked bool
}

func (s *tasksService) Get(context.Context, *tasks.GetRequest, ...grpc.CallOption) (*tasks.GetResponse, error) {
	if s.asked && s.lost {
		return nil, errgrpc.ToGRPC(fmt.Errorf("task: %w", errdefs.ErrNotFound))
	}
	return &tasks.GetResponse{Process: &tasktypes.Process{Status: tasktypes.Status_STOPPED}}, nil
}

func (s *tasksService) Delete(context.Context, *tasks.DeleteTaskRequest, ...grpc.CallOption) (*tasks.DeleteResponse, error) {
	s.asked = true
	return nil, errgrpc.ToGRPC(fmt.Errorf("ttrpc: closed: %w", errdefs.ErrUnknown))
}

func TestDeleteTaskWhoseShimExits(t *testing.T) {
	for _, lost := range []bool{true, false} {
		c, _, ctx := newMetadata(t, containerd.WithTaskClient(&tasksService{lost: lost}))
		if err := c.CreateContainer(ctx, Container{ID: "web", Kind: KindContainer, Runtime: "io.containerd.lite.v2", Spec: &specs.Spec{}}); err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteTask(ctx, "web"); (err == nil) != lost {
			t.Errorf("containerd has deleted the task: %t; DeleteTask = %v", lost, err)
		}
	}
}
