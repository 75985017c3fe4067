// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/shim/reap"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// process is a process of a container: all that an init and an exec have in common.
type process struct {
	setup   *setup
	execID  string // "" for the init
	silent  bool   // its events are not published
	streams *stdio.Streams

	// operation serializes the runtime operations on the process.
	operation ctxMutex
	// done is closed when the exit of the process is recorded and its event is queued.
	done chan struct{}

	mu sync.Mutex
	// Guarded by mu.
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
	AfterExit(f func())
	Exit() reap.Exit
	Signal(sig unix.Signal) error
	KillGroup() error
}

func newProcess(s *setup, execID string, streams *stdio.Streams) *process {
	return &process{
		setup:     s,
		execID:    execID,
		streams:   streams,
		operation: make(ctxMutex, 1),
		done:      make(chan struct{}),
	}
}

func (p *process) isInit() bool { return p.execID == "" }

// id returns the id that events and streams have for the process.
func (p *process) id() string {
	if p.isInit() {
		return p.setup.id
	}
	return p.execID
}

// pid returns the PID, or 0 if the process is not created.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pidLocked()
}

func (p *process) pidLocked() int {
	if p.child == nil {
		return 0
	}
	return p.child.Pid()
}

// current returns the state. It can change as soon as current returns.
func (p *process) current() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// allows returns an error if the current state does not allow v.
func (p *process) allows(v verb) error {
	_, err := p.current().after(v)
	return err
}

// advance moves to the state that follows v. An error means that the state does not allow v.
func (p *process) advance(v verb) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, err := p.state.after(v)
	if err == nil {
		p.state = next
	}
	return err
}

// signalable returns the child if a signal can be sent to it.
func (p *process) signalable() (child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.state.after(kill); err != nil {
		return nil, err
	}
	if p.child == nil {
		return nil, fmt.Errorf("process not started: %w", errdefs.ErrFailedPrecondition)
	}
	return p.child, nil
}

// failStart records that the process was not started. No process ran, so there is no TaskExit
// event.
func (p *process) failStart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(reap.Exit{Status: reap.StatusUnknown, At: time.Now()})
}

// publishExit records the exit, queues the TaskExit event and wakes the callers of Wait.
func (p *process) publishExit() {
	exit := p.child.Exit()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.endLocked(exit)
	p.publish(&events.TaskExit{
		ContainerID: p.setup.id,
		ID:          p.id(),
		Pid:         uint32(p.child.Pid()),
		ExitStatus:  uint32(exit.Status),
		ExitedAt:    timestamppb.New(exit.At),
	})
}

// publish queues an event of the process, unless it is silent.
func (p *process) publish(event proto.Message) {
	if !p.silent {
		p.setup.host.Events.Put(event)
	}
}

// endLocked records the exit of a process that has not ended yet.
func (p *process) endLocked(exit reap.Exit) {
	if p.state == stopped || p.state == deleted {
		return
	}
	p.state = stopped
	p.exit = exit
	close(p.done)
}

// exitedAtLocked returns nil for a process that has not exited.
func (p *process) exitedAtLocked() *timestamppb.Timestamp {
	if p.exit.At.IsZero() {
		return nil
	}
	return timestamppb.New(p.exit.At)
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

// tryLock takes the lock if it is free, and reports whether it did.
func (m ctxMutex) tryLock() bool {
	select {
	case m <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m ctxMutex) unlock() { <-m }
