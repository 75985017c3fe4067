// SPDX-License-Identifier: Apache-2.0

package task

import (
	"github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// watchExec follows an exec in a goroutine of its own.
func (c *container) watchExec(p *process) {
	go guard.Catch(c.context(), "end of exec "+p.execID, func() { c.awaitExec(p) }, nil)()
}

// awaitExec follows an exec to its end.
func (c *container) awaitExec(p *process) {
	<-p.child.Done()
	c.each("end of exec "+p.execID,
		p.streams.Exited,
		c.lookForKills, // what has ended it is told before its end
		func() { c.end(p) },
		c.leave)
}

// each takes the steps of an end. A panic in one costs what that was for; those after it
// are taken all the same, so that the end is on record, published and told.
func (c *container) each(what string, steps ...func()) {
	for _, step := range steps {
		guard.Catch(c.context(), what, step, nil)()
	}
}

// abort ends a process whose streams cannot be carried on; the container with its init.
func (c *container) abort(p *process) {
	c.log().WithField("exec", p.execID).Error("streams broken: the process is killed")
	if !c.breakChild(p) {
		return // it will be when it is there
	}
	if err := c.signal(p, unix.SIGKILL, true); err != nil && !errdefs.IsNotFound(err) {
		c.log().WithError(err).Error("process with broken streams not killed")
	}
}

// breakChild marks a process as broken, and reports whether it is there to be killed.
func (c *container) breakChild(p *process) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.broken = true
	return p.child != nil
}

// awaitInit follows the init to its end, which is the last one of the
// container to be published.
func (c *container) awaitInit() {
	p := c.init
	<-p.child.Done()
	const what = "end of the init"
	c.each(what, c.firstLook, c.shutDoor)
	// A start under way publishes first: an end never precedes its start.
	p.announce.Lock()
	defer p.announce.Unlock()
	c.each(what,
		p.streams.Exited,
		c.endOthers,
		c.lastWords,
		p.streams.Logged, // who hears of the exit finds the log complete
		c.writeExit,
		func() { c.end(p) })
}

func (c *container) writeExit() {
	child := c.init.child
	exit := child.Exit()
	if err := c.bundle.WriteExit(bundle.Exit{Timestamp: exit.At, Pid: child.Pid(), Status: exit.Status}); err != nil {
		c.log().WithError(err).Error("exit status not on record")
	}
}

// lookForKills looks for an out-of-memory kill that is not announced yet.
func (c *container) lookForKills() {
	c.mu.Lock()
	watch := c.oom
	c.mu.Unlock()
	if watch != nil {
		watch.Check()
	}
}

// firstLook looks for an out-of-memory kill while the control group may still be
// there: systemd takes a scope away when its last process has ended.
func (c *container) firstLook() {
	c.mu.Lock()
	watch := c.oom
	c.mu.Unlock()
	if watch != nil {
		watch.CheckEnd(c.init.child.Exit().Status == reap.StatusKilled)
	}
}

// shutDoor keeps execs from starting. It comes before SIGKILL: who joins a control
// group that is frozen meanwhile is told that somebody has paused the container.
func (c *container) shutDoor() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
}

// endOthers ends what outlived the init and waits for the execs among it. Those that
// are being started are called off, see whileAlive; the runtime may have got as far as
// the process.
func (c *container) endOthers() {
	c.killOthers()
	if quiet := c.awaitQuiet(); quiet != nil {
		<-quiet
		c.killOthers()
	}
}

// killOthers kills what is left of a container without an init. In a PID namespace of
// its own the kernel has ended everything already; a pause does not stop it from doing
// so, but would keep the rest alive here.
func (c *container) killOthers() {
	if group := c.controlGroup(); group != nil {
		group.Thaw()
		if !c.ownPids {
			if err := group.Kill(false); err != nil {
				c.log().WithError(err).Error("processes may have outlived the init")
			}
		}
	} else if !c.ownPids {
		c.killExecs()
	}
}

// awaitQuiet returns a channel that is closed when no exec is live, nil if none is.
func (c *container) awaitQuiet() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == 0 {
		return nil
	}
	c.quiet = make(chan struct{})
	return c.quiet
}

// lastWords takes what the control group tells before it can go.
func (c *container) lastWords() {
	c.readStats()
	c.mu.Lock()
	watch := c.oom
	c.oom = nil
	c.mu.Unlock()
	if watch == nil {
		return
	}
	watch.Close()
	watch.Check()
	c.mu.Lock()
	c.kills = watch.Kills()
	c.mu.Unlock()
}

// end records the end of a process, publishes it and tells who waits.
func (c *container) end(p *process) {
	exit := p.child.Exit()
	id := c.id
	if !p.isInit() {
		id = p.execID
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(p.done)
	p.exit = exit
	p.state = stopped
	c.host.Events.Put(&events.TaskExit{
		ContainerID: c.id,
		ID:          id,
		Pid:         uint32(p.child.Pid()),
		ExitStatus:  uint32(exit.Status),
		ExitedAt:    timestamppb.New(exit.At),
	})
}

// killExecs ends the execs of a container whose control group is not known.
func (c *container) killExecs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.execs {
		if p.child != nil {
			_ = p.child.Signal(unix.SIGKILL)
		}
	}
}
