// SPDX-License-Identifier: Apache-2.0

package task

import (
	"github.com/containerd/containerd/api/events"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// awaitExec follows an exec to its end.
func (c *container) awaitExec(p *process) {
	<-p.child.Done()
	p.streams.Exited()
	c.lookForKills() // what has ended it is told before its end
	c.end(p)
	c.mu.Lock()
	c.leaveLocked()
	c.mu.Unlock()
}

// awaitInit follows the init to its end, which is the last one of the
// container to be published.
func (c *container) awaitInit() {
	p := c.init
	<-p.child.Done()
	c.firstLook(p.child.Exit())
	c.shutDoor()
	// A start under way publishes first: an end never precedes its start.
	p.announce.Lock()
	defer p.announce.Unlock()
	p.streams.Exited()
	c.endOthers()
	c.lastWords()
	p.streams.Logged() // who hears of the exit finds the log complete
	exit := p.child.Exit()
	if err := c.bundle.WriteExit(bundle.Exit{Timestamp: exit.At, Pid: p.child.Pid(), Status: exit.Status}); err != nil {
		c.log().WithError(err).Error("exit status not on record")
	}
	c.end(p)
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
func (c *container) firstLook(exit reap.Exit) {
	c.mu.Lock()
	watch := c.oom
	c.mu.Unlock()
	if watch != nil {
		watch.CheckEnd(exit.Status == reap.StatusKilled)
	}
}

// shutDoor keeps execs from starting. It comes before SIGKILL: who joins a control
// group that is frozen meanwhile is told that somebody has paused the container.
func (c *container) shutDoor() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
}

// endOthers ends what outlived the init and waits for the execs among it. In
// a PID namespace of its own the kernel has ended everything already; a pause
// does not stop it from doing so, but would keep the rest alive here.
func (c *container) endOthers() {
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
	c.mu.Lock()
	var quiet chan struct{}
	if c.live > 0 {
		quiet = make(chan struct{})
		c.quiet = quiet
	}
	c.mu.Unlock()
	if quiet != nil {
		<-quiet
	}
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
	p.exit = exit
	p.state = stopped
	c.host.Events.Put(&events.TaskExit{
		ContainerID: c.id,
		ID:          id,
		Pid:         uint32(p.child.Pid()),
		ExitStatus:  uint32(exit.Status),
		ExitedAt:    timestamppb.New(exit.At),
	})
	close(p.done)
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
