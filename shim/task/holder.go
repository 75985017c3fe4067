// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/shim/bundle"
	"github.com/containerd-lite/containerd-lite/shim/cgroup"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// holder stands in for the process of a pod that has none: a cgroup, and a thread of the shim that
// is parked in the pod's network, IPC and UTS namespaces. cAdvisor finds both where it finds those
// of a pause container, and reads the pod's network counters from /proc/<pid>/net of the thread
// (docs/decisions/0005). After a change to containerd's built-in CRI, new containers of the pod
// join the namespaces in /proc/<pid>/ns of the thread (docs/decisions/0025).
type holder struct {
	namespaces []specs.LinuxNamespace // that the thread enters
	cgroup     *cgroup.Group          // nil if the spec has no cgroupsPath

	tid   int              // 0 until the thread is parked
	fatal chan unix.Signal // the first signal that ends the holder
	end   reap.End
	exit  reap.Exit // written before end
}

var _ child = (*holder)(nil)

// holderNamespaces are the types of namespaces that a thread can enter, as flags of setns(2). A
// user namespace has to be that of the whole process: such a pod has an init.
var holderNamespaces = map[specs.LinuxNamespaceType]int{
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
}

// newHolder returns the holder for a spec, or nil if the spec has a process. It creates nothing.
func newHolder(spec *bundle.Spec) (*holder, error) {
	if !spec.Holder() {
		return nil, nil
	}
	h := &holder{
		fatal: make(chan unix.Signal, 1),
		end:   reap.NewEnd(),
	}
	for _, ns := range spec.Joined() {
		if holderNamespaces[ns.Type] != 0 {
			h.namespaces = append(h.namespaces, ns)
		}
	}
	if spec.Linux.CgroupsPath == "" {
		return h, nil
	}
	var err error
	h.cgroup, err = cgroup.Plan(spec.Linux.CgroupsPath)
	return h, err
}

// createHolder parks the thread and then creates the cgroup. The cgroup comes last because cAdvisor
// queries the task as soon as it sees the cgroup.
func (c *container) createHolder(rollback *undo.Stack) error {
	h := c.holder
	rollback.Push("holder", func(context.Context) error { h.remove(); return nil })
	if err := h.park(); err != nil {
		return err
	}
	c.init.child = h
	if h.cgroup == nil {
		return nil
	}
	// Recorded first: the delete command removes only a cgroup that it finds in the bundle.
	if err := c.bundle.WriteCgroup(h.cgroup); err != nil {
		return err
	}
	return h.cgroup.Make()
}

// requireProcess returns an error if v needs a process and the container is a holder. A holder can
// only be started.
func (s *setup) requireProcess(v verb) error {
	if s.holder == nil || v == start {
		return nil
	}
	return fmt.Errorf("cannot %s a pod that has no process: %w", v, errdefs.ErrFailedPrecondition)
}

// park starts a thread that stays in the pod's namespaces until a signal ends it.
func (h *holder) park() error {
	var open []*os.File
	defer func() {
		for _, file := range open {
			file.Close()
		}
	}()
	for _, ns := range h.namespaces {
		file, err := os.Open(ns.Path)
		if err != nil {
			return fmt.Errorf("%s namespace: %w", ns.Type, err)
		}
		open = append(open, file)
	}
	parked := make(chan error, 1)
	h.startThread(open, parked)
	return <-parked
}

// startThread starts the thread. It sends nil to parked when the thread is in place, and an error
// otherwise.
func (h *holder) startThread(namespaces []*os.File, parked chan error) {
	go guard.Catch(context.Background(), "holder thread", func() { h.runThread(namespaces, parked) }, func(err error) {
		if h.tid == 0 {
			parked <- err
			return
		}
		h.finish(reap.StatusUnknown)
	})()
}

// runThread enters the namespaces, reports that to parked and waits for a signal.
func (h *holder) runThread(namespaces []*os.File, parked chan<- error) {
	runtime.LockOSThread() // not unlocked on success: the thread exits with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot exit. This goroutine occupies the main thread until another
		// goroutine has parked a thread, so that the scheduler does not choose the main thread
		// again.
		again := make(chan error, 1)
		h.startThread(namespaces, again)
		parked <- <-again
		runtime.UnlockOSThread()
		return
	}
	for i, file := range namespaces {
		ns := h.namespaces[i]
		if err := unix.Setns(int(file.Fd()), holderNamespaces[ns.Type]); err != nil {
			parked <- fmt.Errorf("enter %s namespace %s: %w", ns.Type, ns.Path, err)
			return
		}
	}
	h.tid = unix.Gettid()
	parked <- nil
	sig := <-h.fatal
	h.finish(128 + int(sig))
}

func (h *holder) finish(status int) {
	h.exit = reap.Exit{Status: status, At: time.Now()}
	h.end.Reached()
}

// remove ends the thread, if there is one, and removes the cgroup.
func (h *holder) remove() {
	if h.tid != 0 {
		_ = h.Signal(unix.SIGKILL) // an error means that it has ended already
		<-h.Done()
	}
	if h.cgroup != nil {
		h.cgroup.Remove()
	}
}

// Pid implements child. It returns the thread's id, which the kernel accepts as a PID in /proc.
func (h *holder) Pid() int { return h.tid }

// Done implements child.
func (h *holder) Done() <-chan struct{} { return h.end.Done() }

// AfterExit implements child.
func (h *holder) AfterExit(f func()) { h.end.After(f) }

// Exit implements child.
func (h *holder) Exit() reap.Exit { return h.exit }

// Signal implements child. SIGKILL, SIGTERM and SIGINT, the signals that end a pause container, end
// the holder. Its exit status is that of a process that does not handle the signal. Other signals
// are ignored.
func (h *holder) Signal(sig unix.Signal) error {
	select {
	case <-h.Done():
		return fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)
	default:
	}
	if sig == unix.SIGKILL || sig == unix.SIGTERM || sig == unix.SIGINT {
		select {
		case h.fatal <- sig:
		default: // a signal is pending already
		}
	}
	return nil
}

// KillGroup implements child.
func (h *holder) KillGroup() error { return h.Signal(unix.SIGKILL) }
