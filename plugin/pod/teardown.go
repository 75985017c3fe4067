// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	// membersTimeout is how long the teardown waits for the containers to end before it detaches
	// the network. They get SIGKILL at once: one that needs longer is stuck, or its shim is.
	membersTimeout = 5 * time.Second
	// taskTimeout bounds the deletion of a pod's task by its shim.
	taskTimeout = 3 * time.Second
	// pingTimeout is how long a shim may take to answer before it counts as stuck.
	pingTimeout = time.Second
	// taskRetryPeriod is the pause between attempts to delete a task while containerd cleans up
	// after its shim.
	taskRetryPeriod = 100 * time.Millisecond
)

// Names of the steps of a teardown, in Record.Unfinished.
const (
	stepContainers = "containers"
	stepTask       = "task"
	stepNetwork    = "network"
	stepNamespaces = "namespaces"
	stepFiles      = "files"
	stepRecord     = "record"
)

// Steps returns the names of the steps of a teardown.
func Steps() []string {
	return []string{stepContainers, stepTask, stepNetwork, stepNamespaces, stepFiles, stepRecord}
}

// teardown releases the resources of a pod: after a failed Run, in Stop, after a Run that a crash
// interrupted, and for strays. The steps, by their names in Record.Unfinished:
//
//	containers  have membersTimeout to end, in which they can still use the network
//	task        is deleted after the containers, because they use its shim; a stuck shim is killed
//	network     is detached in parallel with the task, even if containers did not end
//	namespaces  are unpinned after the network: a CNI plugin needs them for its DEL
//	files       are removed last, when all other steps succeeded: strays are found by them
//
// Each step can be repeated, and does nothing if the resource does not exist.
type teardown struct {
	*releaser
	r       *Record
	stopped func()   // called when the containers have ended
	failed  []string // names of the steps
	errs    []error
}

// releaser releases the resources of pods. It does not change records.
type releaser struct {
	namespaces Namespaces
	network    Network
	files      Files
	tasks      Tasks
	handlers   Handlers
	watches    *watches
}

func newReleaser(d Deps, w *watches) *releaser {
	return &releaser{
		namespaces: d.Namespaces, network: d.Network, files: d.Files, tasks: d.Tasks, handlers: d.Handlers, watches: w,
	}
}

// tearDown runs the steps and returns the names of those that failed. members receives the result
// of stopping the pod's containers; it is nil if the pod has none. stopped is called when they have
// ended.
func (l *releaser) tearDown(ctx context.Context, r *Record, members <-chan error, stopped func()) (failed []string, err error) {
	t := &teardown{releaser: l, r: r, stopped: stopped}
	t.run(ctx, members)
	return t.failed, errors.Join(t.errs...)
}

func (t *teardown) run(ctx context.Context, members <-chan error) {
	// From here on only the teardown starts or stops the pod's task.
	if !t.step(stepTask, t.watches.end(ctx, t.r.ID)) {
		return
	}
	grace, cancel := context.WithTimeout(ctx, membersTimeout)
	defer cancel()
	ended, err := await(grace, members)
	if ended {
		t.membersEnded(ctx, err)
	} else {
		_ = guard.Call(ctx, "kill stuck shim", func() error { t.killStuckShim(ctx, t.r); return nil })
	}
	network := guard.Start(ctx, "detach", func() error { return t.detach(ctx, t.r) })
	if ended {
		t.do(ctx, stepTask, func() error { return t.stopTask(ctx, t.r) })
	}
	if t.step(stepNetwork, <-network) {
		t.do(ctx, stepNamespaces, func() error { return t.namespaces.Unpin(ctx, t.r.ID, t.r.Namespaces) })
	}
	if !ended {
		_, err := await(ctx, members)
		t.membersEnded(ctx, err)
		t.do(ctx, stepTask, func() error { return t.stopTask(ctx, t.r) })
	}
	if len(t.failed) == 0 {
		t.do(ctx, stepFiles, func() error { return t.files.Remove(t.r.ID) })
	}
}

// membersEnded records the result of stopping the containers.
func (t *teardown) membersEnded(ctx context.Context, err error) {
	if t.step(stepContainers, err) {
		_ = guard.Call(ctx, "after the containers", func() error { t.stopped(); return nil })
	}
}

// do runs a step. A panic counts as a failure.
func (t *teardown) do(ctx context.Context, name string, fn func() error) {
	t.step(name, guard.Call(ctx, name, fn))
}

// step records the result of a step, and reports whether it succeeded.
func (t *teardown) step(name string, err error) bool {
	if err == nil {
		return true
	}
	t.failed = append(t.failed, name)
	t.errs = append(t.errs, fmt.Errorf("%s: %w", name, err))
	return false
}

// await waits for the result of members. ended is false if ctx ended first.
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

// detach releases the network of a pod. It also runs after a failed ADD, which may have allocated
// an address.
func (l *releaser) detach(ctx context.Context, r *Record) error {
	if r.HostNetwork() {
		return nil
	}
	return l.network.Detach(ctx, r.network())
}

// stopTask deletes the task of a pod. It kills the shim if that is stuck, and then waits for
// containerd's cleanup.
func (l *releaser) stopTask(ctx context.Context, r *Record) error {
	limited, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	err := l.tasks.Stop(limited, r.ID)
	if err != nil && limited.Err() != nil && l.killStuckShim(ctx, r) {
		err = l.stopDeadTask(ctx, r.ID)
	}
	return err
}

// stopDeadTask deletes a task whose shim was killed. It retries for taskTimeout, because
// containerd's cleanup takes a moment.
func (l *releaser) stopDeadTask(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	for {
		err := l.tasks.Stop(ctx, id)
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

// killStuckShim kills the shim of a pod in teardown if the shim does not answer and serves no other
// pod. It reports whether it killed the shim. The pod's containers have been sent SIGKILL anyway,
// and a shim that is stuck, or stopped by a signal, would keep them indefinitely
// (docs/decisions/0018).
func (l *releaser) killStuckShim(ctx context.Context, r *Record) bool {
	answer, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := l.tasks.PingShim(answer, r.ID); err == nil || answer.Err() == nil {
		return false
	}
	logger := log.G(ctx).WithField("pod", r.ID)
	_, handler, err := l.handlers.Handler(r.Handler)
	switch {
	case err != nil:
	case handler.SharesShim():
		logger.Error("shim does not answer and is not killed, because it may serve other pods; kill it to let the pod end")
		return false
	default:
		err = l.tasks.KillShim(ctx, r.ID)
	}
	if err != nil {
		logger.WithError(err).Error("shim does not answer and was not killed; kill it to let the pod end")
		return false
	}
	logger.Warn("killed shim that did not answer; containerd will clean up its containers")
	return true
}

// killAbandonedShim kills the shim of a pod whose Run was interrupted, unless the shim may serve
// other pods. If the daemon was killed after it launched the shim and before it created the task,
// containerd has no task for this shim and does not stop it.
func (l *releaser) killAbandonedShim(ctx context.Context, r *Record) {
	_, handler, err := l.handlers.Handler(r.Handler)
	if err != nil || handler.SharesShim() {
		return
	}
	if err := l.tasks.KillShim(ctx, r.ID); err != nil && !errdefs.IsNotFound(err) {
		log.G(ctx).WithError(err).WithField("pod", r.ID).Warn("shim of an interrupted RunPodSandbox not killed; kill it if it still runs after a minute")
	}
}
