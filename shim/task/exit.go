// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// watchExec waits for the exit of an exec in a goroutine of its own.
func (c *container) watchExec(p *process) {
	go guard.Catch(c.context(), "exit of exec "+p.execID, func() { c.awaitExec(p) }, nil)()
}

// awaitExec waits for the exit of an exec, then records and publishes it.
func (c *container) awaitExec(p *process) {
	<-p.child.Done()
	runSteps(c.context(), "exit of exec "+p.execID,
		p.streams.Exited,
		c.resources.reportOOMKills, // the OOM event precedes the exit event that it explains
		p.publishExit,
		c.execDone)
}

// runSteps runs the steps that follow the exit of a process. A panic in one step does not keep the
// later ones from running, so that the exit is always recorded and published.
func runSteps(ctx context.Context, what string, steps ...func()) {
	for _, step := range steps {
		guard.Catch(ctx, what, step, nil)()
	}
}

// awaitInit waits for the exit of the init, then kills the remaining processes and publishes the
// exit, after the exits of the execs.
func (c *container) awaitInit() {
	p := c.init
	<-p.child.Done()
	const what = "exit of the init"
	runSteps(c.context(), what,
		func() { c.resources.checkOOM(p.child.Exit().Status == reap.StatusKilled) },
		c.rejectExecs)
	// A start in progress publishes its event first: TaskStart precedes TaskExit.
	c.publishMu.Lock()
	defer c.publishMu.Unlock()
	runSteps(c.context(), what,
		p.streams.Exited,
		c.endRemaining,
		c.resources.readFinal,
		p.streams.Logged, // before the exit: a client that sees the exit finds the log complete
		c.writeExit,
		p.publishExit)
}

func (c *container) writeExit() {
	child := c.init.child
	exit := child.Exit()
	if err := c.bundle.WriteExit(bundle.Exit{Timestamp: exit.At, Pid: child.Pid(), Status: exit.Status}); err != nil {
		c.log().WithError(err).Error("exit status not written to the bundle; it is lost if the shim exits before the task is deleted")
	}
}

// rejectExecs makes the start of execs an error. It is called before SIGKILL is sent: the kill may
// freeze a v1 cgroup, and the runtime would report to an exec that the container is paused.
func (c *container) rejectExecs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.execsRejected = true
}

// endRemaining kills the processes that outlived the init and waits for the execs. Execs that are
// being started are canceled, see cancelOnInitExit, but the runtime may have created their process
// already: hence the second kill.
func (c *container) endRemaining() {
	c.killRemaining()
	if done := c.execsDoneChan(); done != nil {
		<-done
		c.killRemaining()
	}
}

// killRemaining kills the remaining processes of a container whose init has exited. In a PID
// namespace of its own the kernel has killed them already, even in a paused container. Without one,
// a pause would keep them alive, so the cgroup is thawed first.
func (c *container) killRemaining() {
	if group := c.resources.group(); group != nil {
		group.Thaw()
		if !c.ownPids {
			if err := group.Kill(false); err != nil {
				c.log().WithError(err).Error("cgroup not killed; processes may outlive the init")
			}
		}
	} else if !c.ownPids {
		c.killExecs()
	}
}

// execsDoneChan returns a channel that is closed when no exec is live, or nil if none is live now.
func (c *container) execsDoneChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.liveExecs == 0 {
		return nil
	}
	c.execsDone = make(chan struct{})
	return c.execsDone
}

// killExecs kills the execs of a container whose cgroup is unknown.
func (c *container) killExecs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.execs {
		if child, err := p.signalable(); err == nil {
			_ = child.Signal(unix.SIGKILL)
		}
	}
}
