// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// runSteps runs the steps that follow the exit of a process. A panic in one step does not keep the
// later ones from running, so that the exit is always recorded and published.
func runSteps(ctx context.Context, what string, steps ...func()) {
	for _, step := range steps {
		guard.Catch(ctx, what, step, nil)()
	}
}

// watchInit waits for the exit of the init in the background. It watches for out-of-memory kills
// first, because one can occur before the start has returned.
func (c *container) watchInit() {
	guard.Catch(c.context(), "watch for out-of-memory kills", c.resources.watchOOM, nil)()
	c.init.child.AfterExit(guard.Catch(c.context(), "exit of the init", c.initExited, nil))
}

// initExited kills the remaining processes of a container whose init has exited, and publishes the
// exit, after the exits of the execs.
func (c *container) initExited() {
	p := c.init
	const what = "exit of the init"
	runSteps(c.context(), what,
		func() { c.resources.checkOOM(p.child.Exit().Status == reap.StatusKilled) },
		c.admission.reject)
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

// endRemaining kills the processes that outlived the init and waits for the execs. Execs that are
// being started are canceled, see cancelOnInitExit, but the runtime may have created their process
// already: hence the second kill.
func (c *container) endRemaining() {
	c.killRemaining()
	if idle := c.admission.whenIdle(); idle != nil {
		<-idle
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

// killExecs kills the execs of a container whose cgroup is unknown.
func (c *container) killExecs() {
	for _, e := range c.allExecs() {
		if child, err := e.signalable(); err == nil {
			_ = child.Signal(unix.SIGKILL)
		}
	}
}
