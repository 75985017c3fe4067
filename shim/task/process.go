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
	spec    *specs.Process // nil for the init
	streams *stdio.Streams

	// operation serializes the runtime operations on the process.
	operation ctxMutex
	// publishMu puts TaskStart before TaskExit: a start holds it from before the runtime starts the
	// process until TaskStart is queued, and the exit of the init takes it before TaskExit.
	publishMu sync.Mutex
	// done is closed when the exit of the process is recorded and its event is queued.
	done chan struct{}

	// Guarded by container.mu.
	state   state
	child   child // nil until the process is created
	exit    reap.Exit
	removal *removal
	broken  bool // its streams have failed: it must be killed
}

// child is the process behind a process of the Task API: a child process of the shim (reap.Child),
// or the parked thread of a holder.
type child interface {
	Pid() int
	Done() <-chan struct{}
	Exit() reap.Exit
	Signal(sig unix.Signal) error
	KillGroup() error
}

func newProcess(execID string, cfg stdio.Config) *process {
	return &process{execID: execID, streams: stdio.New(cfg), operation: make(ctxMutex, 1), done: make(chan struct{})}
}

func (p *process) isInit() bool { return p.execID == "" }

// pidLocked returns the PID, or 0 if the process is not created.
func (p *process) pidLocked() int {
	if p.child == nil {
		return 0
	}
	return p.child.Pid()
}

// advanceLocked moves to the state that follows v. An error means that the state does not allow v.
func (p *process) advanceLocked(v verb) error {
	next, err := p.state.after(v)
	if err == nil {
		p.state = next
	}
	return err
}

// failStartLocked records that the process was not started. No process ran, so there is no TaskExit
// event.
func (p *process) failStartLocked() {
	p.state = stopped
	p.exit = reap.Exit{Status: reap.StatusUnknown, At: time.Now()}
	close(p.done)
}

// exitedAtLocked returns nil for a process that has not exited.
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

// ctxMutex is a lock whose wait ends with a context.
type ctxMutex chan struct{}

func (m ctxMutex) lock(ctx context.Context) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the operation in progress: %w", ctx.Err())
	}
}

func (m ctxMutex) unlock() { <-m }
