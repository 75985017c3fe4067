// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"os"
	"slices"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// State implements the task service. It does not wait for an operation in progress.
func (s *Service) State(_ context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	c, p, err := s.findProcess(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	response := p.response()
	if init := c.init.current(); !p.isInit() && response.Status == task.Status_RUNNING && (init == pausing || init == paused) {
		response.Status = init.status()
	}
	return response, nil
}

// response returns the state of the process in the Task API.
func (p *process) response() *taskapi.StateResponse {
	cfg := p.streams.Config().Pipes()
	p.mu.Lock()
	defer p.mu.Unlock()
	return &taskapi.StateResponse{
		ID:         p.id(),
		Bundle:     string(p.setup.bundle),
		Pid:        uint32(p.pidLocked()),
		Status:     p.state.status(),
		Stdin:      cfg.Stdin,
		Stdout:     cfg.Stdout,
		Stderr:     cfg.Stderr,
		Terminal:   cfg.Terminal,
		ExitStatus: uint32(p.exit.Status),
		ExitedAt:   p.exitedAtLocked(),
		ExecID:     p.execID,
	}
}

// Wait implements the task service. It returns when the process has exited, when the client cancels
// the call or when its connection is closed.
func (s *Service) Wait(ctx context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	c, p, err := s.findProcess(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("container %s: wait: %w", c.id, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &taskapi.WaitResponse{ExitStatus: uint32(p.exit.Status), ExitedAt: p.exitedAtLocked()}, nil
}

// Connect implements the task service. It succeeds for an unknown task, because containerd calls it
// before it creates a task.
func (s *Service) Connect(_ context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	response := &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid()), Version: "v3"}
	if c, err := s.tasks.get(r.ID); err == nil {
		response.TaskPid = uint32(c.init.pid())
	}
	return response, nil
}

// Pids implements the task service. A stopped task that is not deleted still lists its init: when
// containerd restarts, it treats a task without processes as leaked, and the exit status would be
// lost.
func (s *Service) Pids(_ context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	execs := c.execPids()
	init := c.init.pid()
	var pids []int
	if group := c.resources.group(); group != nil {
		// A cgroup that cannot be read is gone; the init is listed in any case.
		pids, _ = group.Pids()
	}
	if len(pids) == 0 {
		for pid := range execs {
			pids = append(pids, pid)
		}
	}
	if init != 0 && !slices.Contains(pids, init) {
		pids = append([]int{init}, pids...)
	}
	response := &taskapi.PidsResponse{}
	for _, pid := range pids {
		info := &task.ProcessInfo{Pid: uint32(pid)}
		if id, ok := execs[pid]; ok {
			if info.Info, err = bareAny(&options.ProcessDetails{ExecID: id}); err != nil {
				return nil, err
			}
		}
		response.Processes = append(response.Processes, info)
	}
	return response, nil
}

// execPids returns the ids of the running execs by PID.
func (c *container) execPids() map[int]string {
	pids := make(map[int]string)
	for _, e := range c.allExecs() {
		if e.current() == running {
			pids[e.pid()] = e.execID
		}
	}
	return pids
}

// bareAny encodes a message as typeurl does: the type URL is the message's name without a host.
func bareAny(m proto.Message) (*anypb.Any, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: value}, nil
}

// Stats implements the task service. It also answers after the exit of the init, until the task is
// deleted: the CRI plugin then reads the count of out-of-memory kills.
func (s *Service) Stats(_ context.Context, r *taskapi.StatsRequest) (*taskapi.StatsResponse, error) {
	c, err := s.tasks.get(r.ID)
	if err != nil {
		return nil, err
	}
	c.readStats()
	stats := c.resources.lastStats()
	if stats == nil {
		return nil, fmt.Errorf("container %s: statistics: %w", c.id, errdefs.ErrNotFound)
	}
	return &taskapi.StatsResponse{Stats: stats}, nil
}

// readStats reads the statistics, unless the cgroup is gone or a deletion in progress may have
// removed a part of it. The previous statistics are then the last ones.
func (c *container) readStats() {
	switch {
	case c.init.current() != stopped:
		c.resources.readStats()
	case c.keepsCgroup() && c.init.operation.tryLock():
		defer c.init.operation.unlock()
		c.resources.readStats()
	}
}
