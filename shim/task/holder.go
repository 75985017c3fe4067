// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// holder is what the container of a pod without a process has in the place of
// one: a control group, and a thread of the shim that is parked in the pod's
// network namespace. Who looks for a pod finds both where those of a pause
// container would be, and the pod's network counters in /proc/<pid>/net of the
// thread (docs/decisions/0005).
type holder struct {
	netns string        // path of the network namespace, "" for the host's
	group *cgroup.Group // nil if the spec names none

	tid  int              // 0 until the thread is parked
	last chan unix.Signal // the signal that ends it
	done chan struct{}
	exit reap.Exit // written before done is closed
}

var _ child = (*holder)(nil)

// newHolder returns the holder that a spec asks for, nil if it asks for a
// process. It makes nothing.
func newHolder(spec *bundle.Spec) (*holder, error) {
	if !spec.Holder() {
		return nil, nil
	}
	h := &holder{
		netns: spec.NetworkNamespace(),
		last:  make(chan unix.Signal, 1),
		done:  make(chan struct{}),
	}
	if spec.Linux.CgroupsPath == "" {
		return h, nil
	}
	var err error
	h.group, err = cgroup.Plan(spec.Linux.CgroupsPath)
	return h, err
}

// hold makes what a container without a process is made of. The control group
// comes last: cAdvisor asks for the task as soon as it sees one.
func (c *container) hold(back *undo.Stack) error {
	h := c.holder
	back.Push("holder", func(context.Context) error { h.remove(); return nil })
	if err := h.park(); err != nil {
		return err
	}
	c.init.child = h
	if h.group == nil {
		return nil
	}
	// On record first: what the delete command does not find stays.
	if err := c.bundle.WriteCgroup(h.group); err != nil {
		return err
	}
	return h.group.Make()
}

// refuse tells why what needs a process cannot be done, if there is none.
func (c *container) refuse(v verb) error {
	if c.holder == nil || v == start {
		return nil
	}
	return fmt.Errorf("cannot %s a pod that has no process: %w", v, errdefs.ErrFailedPrecondition)
}

// park leaves a thread in the pod's network namespace until a signal ends it.
func (h *holder) park() error {
	var ns *os.File
	if h.netns != "" {
		var err error
		if ns, err = os.Open(h.netns); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		defer ns.Close()
	}
	parked := make(chan error, 1)
	h.launch(ns, parked)
	return <-parked
}

// launch starts the thread, which says in parked that it is there, or why not.
func (h *holder) launch(ns *os.File, parked chan error) {
	go guard.Catch(context.Background(), "pod without a process", func() { h.stay(ns, parked) }, func(err error) {
		if h.tid == 0 {
			parked <- err
			return
		}
		h.finish(reap.StatusUnknown)
	})()
}

// stay is the life of the thread.
func (h *holder) stay(ns *os.File, parked chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end. Occupied by this goroutine it is not
		// picked a second time.
		again := make(chan error, 1)
		h.launch(ns, again)
		parked <- <-again
		runtime.UnlockOSThread()
		return
	}
	if ns != nil {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			parked <- fmt.Errorf("enter network namespace %s: %w", h.netns, err)
			return
		}
	}
	h.tid = unix.Gettid()
	parked <- nil
	sig := <-h.last
	h.finish(128 + int(sig))
}

func (h *holder) finish(status int) {
	h.exit = reap.Exit{Status: status, At: time.Now()}
	close(h.done)
}

// remove ends the thread, if it is there, and removes the control group.
func (h *holder) remove() {
	if h.tid != 0 {
		_ = h.Signal(unix.SIGKILL) // it has ended already
		<-h.done
	}
	if h.group != nil {
		h.group.Remove()
	}
}

// Pid implements child: the number of the thread. The kernel takes it for that
// of a process in /proc.
func (h *holder) Pid() int { return h.tid }

// Done implements child.
func (h *holder) Done() <-chan struct{} { return h.done }

// Exit implements child.
func (h *holder) Exit() reap.Exit { return h.exit }

// Signal implements child. The signals by which a pause container is ended end
// a holder, with the exit status of a process that does not handle them; the
// others are ignored.
func (h *holder) Signal(sig unix.Signal) error {
	select {
	case <-h.done:
		return fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)
	default:
	}
	if sig == unix.SIGKILL || sig == unix.SIGTERM || sig == unix.SIGINT {
		select {
		case h.last <- sig:
		default: // one is on its way
		}
	}
	return nil
}

// KillGroup implements child.
func (h *holder) KillGroup() error { return h.Signal(unix.SIGKILL) }
