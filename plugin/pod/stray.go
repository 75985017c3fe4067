// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// ReleaseStrays gives back what a loss of power has brought back of pods that had
// given it back. A record is on the disk when the call that changed it has returned; a
// file that was removed before is back if the file system had not got around to
// writing that down, which takes it seconds. The address of a pod that is gone would be
// taken for ever. What cannot be released stays until the next start.
func (m *Manager) ReleaseStrays(ctx context.Context, strays []*Record) {
	var group errgroup.Group
	group.SetLimit(recoverParallel)
	for _, r := range strays {
		group.Go(func() error {
			logger := log.G(ctx).WithField("pod", r.ID)
			if err := m.releaseStray(ctx, r); err != nil {
				logger.WithError(err).Error("network or files of a pod that had given them back are there again and stay until the next start")
				return nil
			}
			logger.Warn("network or files of a pod that had given them back were there again, as after a loss of power, and are released")
			return nil
		})
	}
	_ = group.Wait()
}

// Strays are the pods that should have nothing, and have files or a network: those
// that are stopped, and those of which there is no record any more. It is for the time
// after [Manager.Recover] in which pods neither come nor go.
func (m *Manager) Strays(ctx context.Context) ([]*Record, error) {
	ids, err := m.Files.IDs()
	if err != nil {
		return nil, fmt.Errorf("pod files: %w", err)
	}
	attached, err := m.Network.Attached()
	if err != nil {
		return nil, err
	}
	for id, netns := range attached {
		if ns := m.planNetwork(id); ns.Net == netns && !m.Namespaces.Pinned(ns) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	records := map[string]*Record{}
	for _, r := range m.pods.List() {
		records[r.ID] = r
	}
	var strays []*Record
	for _, id := range slices.Compact(ids) {
		if r, found := records[id]; found {
			if r.State == Stopped {
				strays = append(strays, r)
			}
			continue
		}
		known, err := m.Records.Knows(ctx, id)
		if err != nil {
			return nil, err
		}
		if !known {
			strays = append(strays, &Record{ID: id, Namespaces: m.planNetwork(id)})
		}
	}
	return strays, nil
}

// planNetwork is where the network namespace of a pod is, should it have one. No
// other runtime has its namespaces there.
func (m *Manager) planNetwork(id string) network.Namespaces {
	return m.Namespaces.Plan(network.PinOptions{ID: id, Net: true})
}

func (m *Manager) releaseStray(ctx context.Context, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, undoLimit)
	defer cancel()
	if err := m.disconnect(ctx, r); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return m.Files.Remove(r.ID)
}
