// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// process is the init of a container or an exec in it.
type process struct {
	execID  string         // "" for the init
	spec    *specs.Process // of an exec
	streams *stdio.Streams

	// turn admits one operation of the runtime at a time.
	turn turn
	// announce is held from before the runtime starts the process until the
	// start is published, and taken before its end is.
	announce sync.Mutex
	// done is closed when the end of the process is on record and published.
	done chan struct{}

	// Guarded by container.mu.
	state   state
	child   child // nil until there is a process
	exit    reap.Exit
	removal *removal
	broken  bool // its streams are, and it must end
}

// child is what stands behind a process of the task API: a process of this
// machine, or the thread of a holder. See reap.Child.
type child interface {
	Pid() int
	Done() <-chan struct{}
	Exit() reap.Exit
	Signal(sig unix.Signal) error
	KillGroup() error
}

func newProcess(execID string, cfg stdio.Config) *process {
	return &process{execID: execID, streams: stdio.New(cfg), turn: make(turn, 1), done: make(chan struct{})}
}

func (p *process) isInit() bool { return p.execID == "" }

// pidLocked returns the process number, 0 before there is one.
func (p *process) pidLocked() int {
	if p.child == nil {
		return 0
	}
	return p.child.Pid()
}

// advanceLocked moves to the state that follows v, or refuses.
func (p *process) advanceLocked(v verb) error {
	next, err := p.state.after(v)
	if err == nil {
		p.state = next
	}
	return err
}

// abandonLocked ends a process that could not be started. There was none, so there is no exit
// event.
func (p *process) abandonLocked() {
	p.state = stopped
	p.exit = reap.Exit{Status: reap.StatusUnknown, At: time.Now()}
	close(p.done)
}

// exitedAtLocked is nil for a process that has not ended.
func (p *process) exitedAtLocked() *timestamppb.Timestamp {
	if p.exit.At.IsZero() {
		return nil
	}
	return timestamppb.New(p.exit.At)
}

func (p *process) deleteResponseLocked() *taskapi.DeleteResponse {
	return &taskapi.DeleteResponse{
		Pid:        uint32(p.pidLocked()),
		ExitStatus: uint32(p.exit.Status),
		ExitedAt:   p.exitedAtLocked(),
	}
}

// turn is a lock that can be waited for with a context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the operation under way: %w", ctx.Err())
	}
}

func (t turn) give() { <-t }
