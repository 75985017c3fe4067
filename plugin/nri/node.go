// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// updateTimeout bounds one update that a plugin requests: the container may be starting, or its
// shim may be stuck.
const updateTimeout = 10 * time.Second

// unseen are the pods and containers that were sent to plugins and that the Node does not list yet.
type unseen struct {
	mu   sync.Mutex
	byID map[string]Subject
}

func (u *unseen) add(id string, s Subject) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byID[id] = s
}

func (u *unseen) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byID, id)
}

func (u *unseen) list() []Subject {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Values(u.byID))
}

// synchronize sends all pods and containers to a plugin that connects. NRI calls it while it blocks
// all other calls, so the updates that the plugin requests are applied later: one of them may wait
// for a container whose start waits for plugins.
func (p *Plugins) synchronize(ctx context.Context, a *active, send adaptation.SyncCB) error {
	return guard.Call(ctx, "synchronize an NRI plugin", func() error {
		pods, containers := p.all(ctx, a.node)
		updates, err := send(ctx, pods, containers)
		if err != nil || len(updates) == 0 {
			return err
		}
		guard.Go(ctx, nil, "updates for an NRI plugin", func() {
			block := a.BlockPluginSync() // returns when the plugin is synchronized
			block.Unblock()
			updateLogged(ctx, a.node, updates)
		})
		return nil
	})
}

// all returns the pods and containers of the node, and those that it does not list yet. An object
// that became visible in between is returned once.
func (p *Plugins) all(ctx context.Context, node Node) (pods []*api.PodSandbox, containers []*api.Container) {
	unseen := p.unseen.list() // first: an object leaves this list after the Node lists it
	podSubjects, containerSubjects := node.Subjects(ctx)
	seen := map[string]bool{}
	for _, s := range slices.Concat(podSubjects, containerSubjects, unseen) {
		pod, container := s()
		switch {
		case container == nil && !seen[pod.GetId()]:
			seen[pod.GetId()] = true
			pods = append(pods, pod)
		case container != nil && !seen[container.GetId()]:
			seen[container.GetId()] = true
			containers = append(containers, container)
		}
	}
	return pods, containers
}

// update changes the resources of containers at the request of a plugin. It returns the updates
// that failed. An unknown container is not an error, nor is a failed update with IgnoreFailure. The
// end of ctx does not end an update.
func update(ctx context.Context, node Node, updates []*api.ContainerUpdate) (failed []*api.ContainerUpdate, err error) {
	var errs []error
	for _, u := range updates {
		if u == nil { // the adaptation's answer for a container that no plugin changes
			continue
		}
		err := updateOne(ctx, node, u)
		switch {
		case err == nil || errdefs.IsNotFound(err):
		case u.GetIgnoreFailure():
			log.G(ctx).WithError(err).WithField("container", u.GetContainerId()).Info("update requested by an NRI plugin failed; ignored, because the plugin allows it")
		default:
			failed = append(failed, u)
			errs = append(errs, err)
		}
	}
	return failed, errors.Join(errs...)
}

func updateOne(ctx context.Context, node Node, u *api.ContainerUpdate) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), updateTimeout)
	defer cancel()
	return guard.Call(ctx, "update for an NRI plugin", func() error {
		return node.Update(ctx, u.GetContainerId(), u.GetLinux().GetResources())
	})
}

func updateLogged(ctx context.Context, node Node, updates []*api.ContainerUpdate) {
	if _, err := update(ctx, node, updates); err != nil {
		log.G(ctx).WithError(err).Warn("updates requested by NRI plugins failed; the containers keep their limits")
	}
}
