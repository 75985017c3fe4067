// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

const (
	// recoverTimeout bounds the recovery of one container: its shim may be stuck.
	recoverTimeout = 10 * time.Second
	// recoverParallel is the number of containers that are recovered at the same time.
	recoverParallel = 16
)

// Recover loads the containers that containerd knows and compares each with its task:
//
//	record   task      → container
//	created  none      → created
//	created  created   → created; the task of the interrupted start is deleted
//	created  running   → running: the start succeeded but was not saved
//	created  stopped   → exited, with the code that the shim has kept
//	running  running   → running; its log continues
//	running  stopped   → exited, with the code that the shim has kept
//	running  none      → exited, with the code of an exit event; without one, code unknown
//	running  unknown   → running; its shim is asked until it answers
//	exited   any       → exited; the task is deleted
//
// A container that cannot be recovered does not prevent the recovery of others.
func (m *Manager) Recover(ctx context.Context) error {
	records, err := m.Containerd.Containers(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(records))
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, saved := range records {
		known[saved.ID] = true
		group.Go(guard.Func(ctx, "recover container "+saved.ID, func() error {
			ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
			defer cancel()
			if err := m.recover(ctx, saved); err != nil {
				log.G(ctx).WithError(err).WithField("container", saved.ID).Error("container not recovered; retrying if it is running, else at next start")
			}
			return nil
		}))
	}
	_ = group.Wait() // only panics, which are logged
	// Mounts are removed before the snapshots they use.
	if err := errors.Join(m.removeStray(ctx, known), m.Containerd.RenewLease(ctx)); err != nil {
		log.G(ctx).WithError(err).Error("cleanup after a crash is incomplete; will retry at next start")
	}
	return nil
}

func (m *Manager) recover(ctx context.Context, saved runtime.Record) error {
	r := new(Record)
	if err := json.Unmarshal(saved.JSON, r); err != nil {
		return fmt.Errorf("decode record (ctr -n k8s.io containers rm removes it): %w", err)
	}
	if r.ID != saved.ID { // it would use the directories of another container
		return fmt.Errorf("record belongs to container %q (ctr -n k8s.io containers rm removes it): %w", r.ID, errdefs.ErrDataLoss)
	}
	r.life = newLife(m.openStreams(ctx, r))
	if err := m.containers.Put(r); err != nil {
		return err
	}
	m.Labels.Reserve(r.SELinux.Process)
	if r.State() == runtimeapi.ContainerState_CONTAINER_EXITED {
		r.life.claimExit()
		r.life.sent.leaving.Store(true)
		r.life.sent.stop.Do(func() {}) // plugins that connect now do not get this container
		r.life.end()
		r.life.reap()
		return m.Containerd.DeleteTask(ctx, r.ID)
	}
	err := m.watcher.recoverTask(ctx, r)
	if now, gone := m.containers.Get(r.ID); err != nil && gone == nil && now.running() {
		m.watcher.recoverTaskLater(now)
	}
	return err
}

// openStreams opens the streams of a recovered container. A running container continues with its
// streams, a created one gets new streams, and an exited one has none. If the streams cannot be
// opened, the container has none either: after a reboot the pipes are gone, but the record is
// needed to remove the container.
func (m *Manager) openStreams(ctx context.Context, r *Record) containerio.Streams {
	var streams containerio.Streams
	var err error
	switch r.State() {
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		streams, err = containerio.Load(m.streamOptions(r))
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		streams, err = containerio.Open(m.streamOptions(r))
	default:
		return containerio.Closed()
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", r.ID).Warn("streams not opened, as expected after a reboot; the container's output is not read")
		return containerio.Closed()
	}
	return streams
}

// removeStray removes directories whose container does not exist in containerd: a crash interrupted
// a create or a remove. Containers of the built-in CRI that could not be adopted are not in known,
// but containerd has them: their directories are kept.
func (m *Manager) removeStray(ctx context.Context, known map[string]bool) error {
	ids, err := m.Dirs.ContainerIDs()
	errs := []error{err}
	for _, id := range ids {
		if known[id] {
			continue
		}
		exists, err := m.Containerd.Knows(ctx, id)
		if err == nil && !exists {
			err = m.Dirs.remove(id)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
