// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// unknownExitCode is reported for a container whose exit code is lost.
const unknownExitCode = 255

// OnExit receives an exit event of containerd. If the shim is lost, containerd gets the exit from
// the shim's delete command, and this event is the only source of it.
func (m *Manager) OnExit(e runtime.Exit) {
	if r, err := m.containers.Get(e.ID); err == nil {
		r.life.receiveExit(taskExit{code: e.Code, at: e.At, fromEvent: true})
	}
}

// OnOOM receives an out-of-memory event of containerd.
func (m *Manager) OnOOM(id string) {
	if r, err := m.containers.Get(id); err == nil {
		r.life.oomKilled.Store(true)
	}
}

// watcher waits for the exits of containers and handles them. Each exit of a started container
// takes this path, also one that is found when the daemon starts.
type watcher struct {
	containers *containerStore
	containerd Containerd
	background *background // a goroutine for each running container
	plugins    pluginCalls
	oomKilled  func(cgroup string) (killed, known bool)
	now        func() time.Time

	exitEventTimeout time.Duration // the constant; tests shorten it
}

func newWatcher(d Deps, containers *containerStore, b *background, plugins pluginCalls) *watcher {
	return &watcher{
		containers: containers, containerd: d.Containerd, background: b, plugins: plugins, oomKilled: d.OOMKilled, now: d.Now,
		exitEventTimeout: exitEventTimeout,
	}
}

// watch waits for the exit of a task and handles it. Each running container has one watch. After a
// panic the task is looked up again.
func (w *watcher) watch(r *Record, task runtime.Task, exited <-chan runtime.ExitStatus) {
	w.background.run("watch", func(ctx context.Context) {
		err := guard.Call(ctx, "wait for "+r.String(), func() error {
			end := awaitExit(ctx, r, task, exited)
			if end.lost {
				end = r.life.waitExitEvent(ctx, w.exitEventTimeout)
			}
			if ctx.Err() == nil {
				w.handleExit(ctx, r.ID, task, end)
			}
			return nil
		})
		if err != nil {
			w.recoverTaskLater(r)
		}
	})
}

// awaitExit returns how a task exited. The result has no meaning if ctx ended first.
func awaitExit(ctx context.Context, r *Record, task runtime.Task, exited <-chan runtime.ExitStatus) taskExit {
	for {
		status := <-exited
		if status.Error() == nil || ctx.Err() != nil {
			return taskExit{code: status.ExitCode(), at: status.ExitTime()}
		}
		// The shim did not answer. Ask again until it answers or, if it has exited, until
		// containerd has cleaned up after it.
		log.G(ctx).WithError(status.Error()).WithField("container", r.ID).Warn("lost the shim while waiting for the container's exit; asking again")
		var end *taskExit
		if exited, end = waitAgain(ctx, task); end != nil {
			return *end
		}
	}
}

// taskExit is how and when a task exited.
type taskExit struct {
	code uint32
	at   time.Time
	lost bool // code and at are unknown
	// fromEvent is true if the exit was reported by an event of containerd.
	fromEvent bool
}

// waitAgain returns a new wait for a task, or the exit of a task that has stopped or is gone.
func waitAgain(ctx context.Context, task runtime.Task) (<-chan runtime.ExitStatus, *taskExit) {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		status, err := task.Status(ctx)
		switch {
		case errdefs.IsNotFound(err):
			return nil, &taskExit{lost: true}
		case err == nil && status.Status == runtime.Stopped:
			return nil, &taskExit{code: status.ExitStatus, at: status.ExitTime}
		case err == nil:
			if again, err := task.Wait(ctx); err == nil {
				return again, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, &taskExit{lost: true}
		case <-retry.C:
		}
	}
}

// hasEnded reports whether a call for a running container failed because the container has exited
// since, perhaps together with its shim.
func (w *watcher) hasEnded(ctx context.Context, r *Record, task runtime.Task) bool {
	status, err := task.Status(ctx)
	if err == nil {
		// A shim reports an exit only when the log is complete, so look at the process, too.
		return status.Status == runtime.Stopped || processExited(task.Pid())
	}
	if errdefs.IsNotFound(err) {
		return true
	}
	// The shim does not answer. If the shim has exited, containerd will report the container's
	// exit.
	timer := time.NewTimer(w.exitEventTimeout)
	defer timer.Stop()
	select {
	case <-r.life.ended:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// processExited reports whether a process has exited, reaped or not.
func processExited(pid uint32) bool {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer unix.Close(fd)
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && ready > 0
}

// handleExit drains the log, records the exit and deletes the task, in this order. The task is
// deleted only after the exit is saved: if the daemon crashes before that, only the shim knows the
// exit code.
func (w *watcher) handleExit(ctx context.Context, id string, task runtime.Task, end taskExit) {
	r, err := w.containers.Get(id)
	if err != nil || !r.life.claimExit() {
		return
	}
	// Neither an error nor a panic in these steps may keep the exit from being recorded.
	oom, _ := guard.Value(ctx, "check for an out-of-memory kill", func() (bool, error) {
		return w.wasOOMKilled(ctx, r, task, end), nil
	})
	if err := guard.Call(ctx, "drain", func() error { return drainLog(ctx, r) }); err != nil {
		log.G(ctx).WithError(err).WithField("container", id).Warn("output still open after the container's exit; the end of the log may be missing")
	}
	saved := w.recordExit(ctx, r, end, oom)
	if ended, err := w.containers.Get(id); err == nil {
		w.plugins.stop(ctx, ended) // before Stop returns
	}
	r.life.end()
	select {
	case <-saved:
	case <-ctx.Done():
		return
	}
	_ = guard.Call(ctx, "reap", func() error { reap(ctx, r, task); return nil })
	r.life.reap()
}

func drainLog(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return r.life.streams.Drain(ctx)
}

func (w *watcher) recordExit(ctx context.Context, r *Record, end taskExit, oom bool) (saved <-chan struct{}) {
	result := Exit{Code: int32(end.code)}
	finished := end.at.UnixNano()
	switch {
	case end.lost:
		result = Exit{Code: unknownExitCode, Reason: ReasonUnknown, Message: "the shim has exited and the container's exit status is lost"}
		finished = w.now().UnixNano()
	case oom && end.code != 0:
		result.Reason = ReasonOOMKilled
	case end.code == 0:
		result.Reason = ReasonCompleted
	default:
		result.Reason = ReasonError
	}
	metrics.Exits.WithLabelValues(result.Reason).Inc()
	return w.containers.settle(ctx, r.ID, func(r *Record) {
		r.PID, r.Times.Finished, r.Exit = 0, finished, result
	})
}

// reap deletes the task of an exited container. If that fails, removing the container deletes the
// task. A deletion that has begun goes on for reapGrace when the daemon ends: otherwise containerd
// and the next daemon would find half of a task.
func reap(daemon context.Context, r *Record, task runtime.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(daemon), reapTimeout)
	defer cancel()
	guard.Go(ctx, nil, "bound a deletion", func() {
		select {
		case <-daemon.Done():
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(reapGrace):
			cancel()
		case <-ctx.Done():
		}
	})
	if task == nil {
		r.life.streams.Close()
		return
	}
	if _, err := task.Delete(ctx); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("task of an exited container not deleted; removing the container deletes it")
	}
	r.life.setTask(nil)
	r.life.streams.Close()
}
