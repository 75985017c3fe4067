// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// membersTimeout is how long the network outlives containers that do not end: they are
	// killed at once, so one that needs longer is stuck, or its shim is.
	membersTimeout = 5 * time.Second
	// taskTimeout is how long the shim may take to delete the task of a pod.
	taskTimeout = 3 * time.Second
	// answerTimeout is how long a shim may take to answer before it counts as stuck.
	answerTimeout = time.Second
	// taskRetryPeriod is between the attempts to delete a task while containerd cleans up after
	// its shim.
	taskRetryPeriod = 100 * time.Millisecond
)

// teardown gives back what a pod holds. It is the one way back for a Run that failed, a Run that a
// crash ended, Stop, and the strays that a power failure brings back. The steps, by the names that
// a record keeps of those that failed:
//
//	containers  have membersTimeout to end, in which they can say goodbye over the network
//	task        ends after the containers, as they have its shim; a stuck shim is killed
//	network     is detached beside the task, whatever becomes of the containers
//	namespaces  are unpinned after the network: a CNI plugin needs them to undo what it did
//	files       go last, and only when nothing else is left: strays are found by them
//
// Each step can be repeated, and does nothing for what was never made.
type teardown struct {
	m    *Manager
	r    *Record
	left []string // the names of the steps that failed
	errs []error
}

// tearDown runs the steps. members gets the result of stopping the pod's containers; nil stands for
// a pod that has none.
func (m *Manager) tearDown(ctx context.Context, r *Record, members <-chan error) (left []string, err error) {
	t := &teardown{m: m, r: r}
	t.run(ctx, members)
	return t.left, errors.Join(t.errs...)
}

func (t *teardown) run(ctx context.Context, members <-chan error) {
	// After this, only the teardown starts or stops the pod's task.
	if !t.step("task", t.m.unwatch(ctx, t.r.ID)) {
		return
	}
	grace, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	ended, err := await(grace, members)
	if ended {
		t.step("containers", err)
	} else {
		_ = guard.Call(ctx, "kill stuck shim", func() error { t.m.killStuckShim(ctx, t.r); return nil })
	}
	network := guard.Start(ctx, "detach", func() error { return t.m.detach(ctx, t.r) })
	if ended {
		t.do(ctx, "task", func() error { return t.m.stopTask(ctx, t.r) })
	}
	if t.step("network", <-network) {
		t.do(ctx, "namespaces", func() error { return t.m.Namespaces.Unpin(ctx, t.r.ID, t.r.Namespaces) })
	}
	if !ended {
		_, err := await(ctx, members)
		t.step("containers", err)
		t.do(ctx, "task", func() error { return t.m.stopTask(ctx, t.r) })
	}
	if len(t.left) == 0 {
		t.do(ctx, "files", func() error { return t.m.Files.Remove(t.r.ID) })
	}
}

// do does a step. A step that panics is one that fails.
func (t *teardown) do(ctx context.Context, name string, fn func() error) {
	t.step(name, guard.Call(ctx, name, fn))
}

// step notes the result of a step, and reports whether it succeeded.
func (t *teardown) step(name string, err error) bool {
	if err == nil {
		return true
	}
	t.left = append(t.left, name)
	t.errs = append(t.errs, fmt.Errorf("%s: %w", name, err))
	return false
}

// await reports whether the containers have ended, or failed to, before ctx did.
func await(ctx context.Context, members <-chan error) (ended bool, err error) {
	if members == nil {
		return true, nil
	}
	select {
	case err := <-members:
		return true, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// detach gives back the network of a pod. A failed ADD may have taken an address: it is undone,
// too.
func (m *Manager) detach(ctx context.Context, r *Record) error {
	if r.HostNetwork() {
		return nil
	}
	return m.Network.Detach(ctx, r.network())
}

// stopTask ends the task of a pod. If its shim is stuck the shim is killed, and the task ends with
// what containerd then does.
func (m *Manager) stopTask(ctx context.Context, r *Record) error {
	limited, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	err := m.Tasks.Stop(limited, r.ID)
	if err != nil && limited.Err() != nil && m.killStuckShim(ctx, r) {
		err = m.stopDeadTask(ctx, r.ID)
	}
	return err
}

// stopDeadTask stops a task whose shim was killed. It tries for taskTimeout, as containerd needs a
// moment to clean up.
func (m *Manager) stopDeadTask(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	for {
		err := m.Tasks.Stop(ctx, id)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(taskRetryPeriod):
		case <-ctx.Done():
			return err
		}
	}
}

// killStuckShim kills the shim of a pod that is on its way out, if the shim does not answer and
// serves no other pod. It reports whether it did. The containers of the pod are being killed as it
// is, and a shim that is stuck, or stopped by a signal, would keep them for ever.
func (m *Manager) killStuckShim(ctx context.Context, r *Record) bool {
	answer, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := m.Tasks.Answers(answer, r.ID); err == nil || answer.Err() == nil {
		return false
	}
	logger := log.G(ctx).WithField("pod", r.ID)
	_, handler, err := m.Handlers.Handler(r.Handler)
	switch {
	case err != nil:
	case handler.SharesShim():
		logger.Error("the pod's shim does not answer and is not killed, as it may serve other pods; kill it by hand to end the pod")
		return false
	default:
		err = m.Tasks.KillShim(ctx, r.ID)
	}
	if err != nil {
		logger.WithError(err).Error("the pod's shim does not answer and cannot be killed; the pod stays until it does")
		return false
	}
	logger.Warn("killed the pod's shim, which did not answer; containerd cleans up after it")
	return true
}
