// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/stdio"
)

// exec is an additional process of a container. Its life is in this file: addExec, start, awaitExit
// and deleteExec. That of an ExecSync, which is one call, is in execsync.go.
type exec struct {
	*process
	spec      *specs.Process
	admission *admission
	resources *resources
}

// newExec returns an exec without a spec. The process is created by start.
func (c *container) newExec(id string, streams *stdio.Streams) (*exec, error) {
	if id == "" || filepath.Base(id) != id {
		return nil, fmt.Errorf("container %s: exec id %q: %w", c.id, id, errdefs.ErrInvalidArgument)
	}
	e := &exec{process: newProcess(c.setup, id, streams), admission: c.admission, resources: c.resources}
	if err := c.requireProcess(execute); err != nil {
		return nil, e.wrap(err)
	}
	return e, nil
}

// decodeExec returns the exec of a request of the Task API.
func (c *container) decodeExec(r *taskapi.ExecProcessRequest) (*exec, error) {
	e, err := c.newExec(r.ExecID, stdio.New(stdio.Config{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	}))
	if err != nil {
		return nil, err
	}
	e.spec = &specs.Process{}
	if err := json.Unmarshal(r.Spec.GetValue(), e.spec); err != nil {
		return nil, e.wrap(fmt.Errorf("process: %w: %w", errdefs.ErrInvalidArgument, err))
	}
	e.spec.Terminal = r.Terminal
	return e, nil
}

// addExec records an exec.
func (c *container) addExec(e *exec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init.mu.Lock() // the init has not exited when TaskExecAdded is queued
	defer c.init.mu.Unlock()
	if _, err := c.init.state.after(execute); err != nil {
		return e.wrap(err)
	}
	if c.execs[e.execID] != nil {
		return e.wrap(errdefs.ErrAlreadyExists)
	}
	c.execs[e.execID] = e
	e.publish(&events.TaskExecAdded{ContainerID: c.id, ExecID: e.execID})
	return nil
}

// start starts the exec and returns its PID.
func (e *exec) start(ctx context.Context) (int, error) {
	if err := e.operation.lock(ctx); err != nil {
		return 0, e.wrap(err)
	}
	defer e.operation.unlock()
	if err := e.admission.admit(e.process); err != nil {
		return 0, e.wrap(err)
	}
	ctx, cancel := e.admission.cancelOnInitExit(ctx)
	defer cancel()
	child, err := e.openAndLaunch(ctx, e.owner(), e.pidFile(), func(target *oci.Process) error {
		if e.startFast(ctx, target) {
			return nil
		}
		return e.setup.runtime.Exec(ctx, e.setup.id, e.spec, target)
	})
	if err != nil {
		e.failStart()
		e.admission.done()
		return 0, e.wrap(e.admission.explain(err))
	}
	e.setChild(child)
	defer e.watchExit()
	if err := e.advance(start); err != nil { // it was deleted during the start
		_ = child.KillGroup()
		return 0, e.wrap(err)
	}
	e.publish(&events.TaskExecStarted{ContainerID: e.setup.id, ExecID: e.execID, Pid: uint32(child.Pid())})
	return child.Pid(), nil
}

func (e *exec) wrap(err error) error {
	return fmt.Errorf("container %s: exec %s: %w", e.setup.id, e.execID, err)
}

func (e *exec) pidFile() string { return e.setup.bundle.ExecPidFile(e.execID) }

// owner returns the owner of the exec's streams.
func (e *exec) owner() stdio.Owner {
	return e.streamOwner(func() error { return e.signal(unix.SIGKILL) })
}

// watchExit waits for the exit in a goroutine of its own.
func (e *exec) watchExit() {
	go guard.Catch(e.setup.context(), "exit of exec "+e.execID, e.awaitExit, nil)()
}

// awaitExit waits for the exit, then records and publishes it.
func (e *exec) awaitExit() {
	<-e.child.Done()
	runSteps(e.setup.context(), "exit of exec "+e.execID,
		e.streams.Exited,
		e.resources.reportOOMKills, // the OOM event precedes the exit event that it explains
		e.publishExit,
		e.admission.done)
}

func (e *exec) signal(sig unix.Signal) error {
	child, err := e.signalable()
	if err != nil {
		return err
	}
	if sig == unix.SIGKILL {
		// Children of the exec would keep its output open and run indefinitely.
		return child.KillGroup()
	}
	return child.Signal(sig)
}

// removePidFile removes the file that the runtime has written at the start.
func (e *exec) removePidFile() {
	if err := os.Remove(e.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		e.setup.log().WithError(err).Debug("PID file of the exec not removed")
	}
}

// deleteExec deletes an exec that has exited or never ran, see process.delete.
func (c *container) deleteExec(ctx context.Context, e *exec, gone func(*taskapi.DeleteResponse)) (*taskapi.DeleteResponse, error) {
	return e.delete(ctx, func(context.Context) error { c.forgetExec(e); return nil }, gone)
}

// forgetExec removes what is left of an exec.
func (c *container) forgetExec(e *exec) {
	e.removePidFile()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.execs, e.execID)
}
