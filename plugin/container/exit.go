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
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// unknownExitCode is the exit code of a container whose real one is lost.
const unknownExitCode = 255

// watch waits for the exit of a task and records it. There is one watch for each running
// container: after a panic the task is looked for again.
func (m *Manager) watch(r *Record, task runtime.Task, exited <-chan runtime.ExitStatus) {
	guard.Go(m.life, &m.wait, "watch", func() {
		err := guard.Call(m.life, "wait for "+r.String(), func() error {
			end := await(m.life, r, task, exited)
			if end.lost {
				end = r.life.waitAnnounced(m.life, m.patience)
			}
			if m.life.Err() == nil {
				m.exited(m.life, r.ID, task, end)
			}
			return nil
		})
		if err != nil {
			m.findLater(r)
		}
	})
}

// await returns how a task ended. It means nothing when ctx ended first.
func await(ctx context.Context, r *Record, task runtime.Task, exited <-chan runtime.ExitStatus) exit {
	for {
		status := <-exited
		if status.Error() == nil || ctx.Err() != nil {
			return exit{code: status.ExitCode(), at: status.ExitTime()}
		}
		// The shim did not answer. Its end is seen by containerd, which cleans
		// up after it; ask again until it has.
		log.G(ctx).WithError(status.Error()).WithField("container", r.ID).Warn("lost the shim while waiting for the container")
		var end *exit
		if exited, end = waitAgain(ctx, task); end != nil {
			return *end
		}
	}
}

// exit is how and when a container ended.
type exit struct {
	code uint32
	at   time.Time
	lost bool // code and at are not known
	// announced is true if it is from containerd's announcement.
	announced bool
}

// waitAgain returns a new wait for a task, or how it ended if there is nothing
// left to wait for.
func waitAgain(ctx context.Context, task runtime.Task) (<-chan runtime.ExitStatus, *exit) {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		status, err := task.Status(ctx)
		switch {
		case errdefs.IsNotFound(err):
			return nil, &exit{lost: true}
		case err == nil && status.Status == runtime.Stopped:
			return nil, &exit{code: status.ExitStatus, at: status.ExitTime}
		case err == nil:
			if again, err := task.Wait(ctx); err == nil {
				return again, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, &exit{lost: true}
		case <-retry.C:
		}
	}
}

// hasEnded tells whether a call about a running container went wrong because the
// container has ended since, and its shim perhaps with it.
func (m *Manager) hasEnded(ctx context.Context, r *Record, task runtime.Task) bool {
	status, err := task.Status(ctx)
	if err == nil {
		// A shim holds the news back until the log is complete.
		return status.Status == runtime.Stopped || isGone(task.Pid())
	}
	if errdefs.IsNotFound(err) {
		return true
	}
	// The shim does not answer. If it has ended, the exit is on its way.
	timer := time.NewTimer(m.patience)
	defer timer.Stop()
	select {
	case <-r.life.ended:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// isGone tells whether a process has ended, reaped or not.
func isGone(pid uint32) bool {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer unix.Close(fd)
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && ready > 0
}

// Announce notes an exit that containerd has announced. It matters when
// the shim is lost: containerd has the exit from the shim's delete command then,
// and nobody else does.
func (m *Manager) Announce(e runtime.Exit) {
	if r, err := m.containers.Get(e.ID); err == nil {
		r.life.announce(exit{code: e.Code, at: e.At, announced: true})
	}
}

// AnnounceOOM notes an out-of-memory kill that containerd has announced.
func (m *Manager) AnnounceOOM(id string) {
	if r, err := m.containers.Get(id); err == nil {
		r.life.oomKilled.Store(true)
	}
}

// exited is the one path of every exit: the log is written to its end, the exit is recorded, and
// the task is deleted. The task stays until the exit is saved: until then its shim is the one that
// knows the exit code after a crash of the daemon.
func (m *Manager) exited(ctx context.Context, id string, task runtime.Task, end exit) {
	r, err := m.containers.Get(id)
	if err != nil || !r.life.claimExit() {
		return
	}
	// What is asked and done on the way cannot keep the exit from the record, not even by a panic.
	oom, _ := guard.Value(ctx, "ask whether memory ran out", func() (bool, error) {
		return m.outOfMemory(ctx, r, task, end), nil
	})
	if err := guard.Call(ctx, "drain", func() error { return m.drainLog(ctx, r) }); err != nil {
		log.G(ctx).WithError(err).WithField("container", id).Warn("output is still open after the container's exit; the log may lack its end")
	}
	saved := m.recordExit(ctx, r, end, oom)
	r.life.end()
	select {
	case <-saved:
	case <-ctx.Done():
		return
	}
	_ = guard.Call(ctx, "reap", func() error { m.reap(ctx, r, task); return nil })
	r.life.reap()
}

func (m *Manager) drainLog(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	return r.life.streams.Drain(ctx)
}

func (m *Manager) recordExit(ctx context.Context, r *Record, end exit, oom bool) (saved <-chan struct{}) {
	result := Exit{Code: int32(end.code)}
	finished := end.at.UnixNano()
	switch {
	case end.lost:
		result = Exit{Code: unknownExitCode, Reason: ReasonUnknown, Message: "the shim ended and its exit status is lost"}
		finished = m.Now().UnixNano()
	case oom && end.code != 0:
		result.Reason = ReasonOOMKilled
	case end.code == 0:
		result.Reason = ReasonCompleted
	default:
		result.Reason = ReasonError
	}
	return m.settle(ctx, r.ID, func(r *Record) {
		r.PID, r.Times.Finished, r.Exit = 0, finished, result
	})
}

// reap deletes the task of an exited container. What is left is deleted when
// the container is removed.
func (m *Manager) reap(ctx context.Context, r *Record, task runtime.Task) {
	ctx, cancel := context.WithTimeout(ctx, reapLimit)
	defer cancel()
	if task == nil {
		r.life.streams.Close()
		return
	}
	if _, err := task.Delete(ctx); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("container", r.ID).Error("task of an exited container is left; removing the container deletes it")
	}
	r.life.setTask(nil)
	r.life.streams.Close()
}
