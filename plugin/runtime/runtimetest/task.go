// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Task is a process that exits by SIGKILL, or when Exit is called. Methods of runtime.Task that are
// not defined here panic.
type Task struct {
	runtime.Task // nil
	containerd   *Containerd
	id           string
	exited       chan struct{}

	mu     sync.Mutex
	state  containerd.ProcessStatus
	status runtime.Status
	err    error         // of Wait and Status; see SetError
	block  chan struct{} // while it is open, signals are not delivered; nil to deliver them
}

// SetError makes Status and Wait return err, as without a connection to the shim, until err is nil.
// With [fault.ErrPanic] Status panics.
func (t *Task) SetError(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// SetState changes the state that the task reports. Waits for the task do not return.
func (t *Task) SetState(state containerd.ProcessStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}

// BlockSignals blocks signals to the task until unblock is called.
func (t *Task) BlockSignals() (unblock func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.block = make(chan struct{})
	return func() { close(t.block) }
}

// Exit ends the task at Unix time 200.
func (t *Task) Exit(code uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == runtime.Stopped {
		return
	}
	t.state = runtime.Stopped
	t.status = runtime.Status{Status: runtime.Stopped, ExitStatus: code, ExitTime: time.Unix(200, 0)}
	close(t.exited)
}

// Pid returns the PID of a process that is running.
func (t *Task) Pid() uint32 { return uint32(os.Getpid()) }

// Start is the step "start task".
func (t *Task) Start(context.Context) error {
	if err := t.containerd.Call("start task"); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == runtime.Created {
		t.state = runtime.Running
	}
	return nil
}

// Status returns the state of the task, or the error of SetError.
func (t *Task) Status(context.Context) (runtime.Status, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(t.err, fault.ErrPanic) {
		panic("status of " + t.id)
	}
	if t.err != nil {
		return runtime.Status{}, t.err
	}
	t.status.Status = t.state
	return t.status, nil
}

// Wait waits for the exit. The channel gets the error of SetError, or that of ctx, instead.
func (t *Task) Wait(ctx context.Context) (<-chan runtime.ExitStatus, error) {
	result := make(chan runtime.ExitStatus, 1)
	go func() {
		select {
		case <-t.exited:
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.err != nil {
				result <- *containerd.NewExitStatus(0, time.Time{}, t.err)
				return
			}
			result <- *containerd.NewExitStatus(t.status.ExitStatus, t.status.ExitTime, nil)
		case <-ctx.Done():
			result <- *containerd.NewExitStatus(0, time.Time{}, ctx.Err())
		}
	}()
	return result, nil
}

// Kill is the step "kill" with the number of the signal. SIGKILL ends the task.
func (t *Task) Kill(_ context.Context, s syscall.Signal, _ ...containerd.KillOpts) error {
	t.mu.Lock()
	block := t.block
	t.mu.Unlock()
	if block != nil {
		<-block
	}
	err := t.containerd.Call(fmt.Sprintf("kill %d", int(s)))
	if err == nil && s == syscall.SIGKILL {
		t.Exit(137)
	}
	return err
}

// Delete is the step "delete task", which removes the resource "task". A call whose context has
// ended when the step is over removes nothing.
func (t *Task) Delete(ctx context.Context, _ ...containerd.ProcessDeleteOpts) (*runtime.ExitStatus, error) {
	if err := t.containerd.Call("delete task"); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.containerd.forgetTask(t.id)
	return nil, nil
}

// Update is the step "update task".
func (t *Task) Update(context.Context, ...containerd.UpdateTaskOpts) error {
	return t.containerd.Call("update task")
}

// Metrics returns the Metrics of the [Containerd].
func (t *Task) Metrics(context.Context) (*types.Metric, error) {
	if t.containerd.Metrics == nil {
		return nil, fmt.Errorf("metrics of task %s: %w", t.id, errdefs.ErrUnavailable)
	}
	data, err := typeurl.MarshalAnyToProto(t.containerd.Metrics)
	return &types.Metric{Data: data}, err
}

// Exec is the step "exec", which creates the resource "exec".
func (t *Task) Exec(_ context.Context, _ string, _ *specs.Process, create cio.Creator) (runtime.Process, error) {
	if err := t.containerd.Makes("exec", "exec"); err != nil {
		return nil, err
	}
	streams, err := create("exec1")
	if err != nil {
		return nil, err
	}
	return &process{containerd: t.containerd, streams: streams, exited: make(chan struct{})}, nil
}

// process is an exec. It exits when it is killed or deleted. Its steps are "wait exec", "start
// exec", "kill exec" with the number of the signal, and "delete exec".
type process struct {
	runtime.Process // nil
	containerd      *Containerd
	streams         cio.IO
	exited          chan struct{}
}

func (p *process) IO() cio.IO { return p.streams }

func (p *process) Wait(context.Context) (<-chan runtime.ExitStatus, error) {
	result := make(chan runtime.ExitStatus, 1)
	go func() {
		<-p.exited
		result <- *containerd.NewExitStatus(137, time.Time{}, nil)
	}()
	return result, p.containerd.Call("wait exec")
}

func (p *process) Start(context.Context) error { return p.containerd.Call("start exec") }

func (p *process) Kill(_ context.Context, s syscall.Signal, _ ...containerd.KillOpts) error {
	close(p.exited)
	return p.containerd.Call(fmt.Sprintf("kill exec %d", int(s)))
}

func (p *process) Delete(context.Context, ...containerd.ProcessDeleteOpts) (*runtime.ExitStatus, error) {
	select {
	case <-p.exited:
	default:
		close(p.exited) // it was not killed
	}
	p.streams.Cancel()
	p.streams.Wait()
	p.streams.Close()
	return nil, p.containerd.Undoes("delete exec", "exec")
}
