// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"encoding/json"
	"fmt"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/containerd-lite/containerd-lite/shim/cgroup"
)

// Update implements the task service.
func (s *Service) Update(ctx context.Context, r *taskapi.UpdateTaskRequest) (*emptypb.Empty, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	resources := &specs.LinuxResources{}
	if err := json.Unmarshal(r.Resources.GetValue(), resources); err != nil {
		return nil, fmt.Errorf("container %s: update: resources: %w: %w", c.id, errdefs.ErrInvalidArgument, err)
	}
	if err := c.operate(ctx, update, func() error { return c.update(ctx, resources) }); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// update changes the limits of the container's cgroup. The huge page limits come last: `runc
// update` does not support them and writes the previous ones.
func (c *container) update(ctx context.Context, r *specs.LinuxResources) error {
	group := c.resources.group()
	if group == nil {
		return c.runtime.Update(ctx, c.id, r)
	}
	if m := r.Memory; m != nil && m.Limit != nil && m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate {
		if err := c.checkLimit(group, *m.Limit); err != nil {
			return err
		}
		// The runtime must not check again. crun compares the usage with the sum of the memory and
		// the swap limit, which are equal: with twice the limit. With the systemd driver it
		// compares only after it has set the limits.
		m.CheckBeforeUpdate = nil
	}
	if err := c.runtime.Update(ctx, c.id, r); err != nil {
		return err
	}
	return group.LimitHugepages(r.HugepageLimits)
}

// checkLimit rejects a memory limit that would get the container killed. It reclaims page cache
// first, which counts as memory in use.
func (c *container) checkLimit(group *cgroup.Group, limit int64) error {
	if err := group.Reclaim(limit); err != nil {
		c.log().WithError(err).Debug("memory not reclaimed before the update; the new limit may be rejected")
	}
	return group.Fits(limit)
}
