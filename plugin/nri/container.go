// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"

	"github.com/containerd/nri/pkg/api"
)

// CreateContainer returns the changes that plugins request for a container that is about to be
// created, or nil. It applies the updates of other containers that they request.
//
// Until [Plugins.Seen] or [Plugins.RemoveContainer], Synchronize has the container.
func (p *Plugins) CreateContainer(ctx context.Context, id string, container Subject) (*api.ContainerAdjustment, error) {
	var answer *api.CreateContainerResponse
	var node Node
	err := p.callAfter(ctx, "CreateContainer", func() { p.unseen.add(id, container) }, func(ctx context.Context, a *active) (err error) {
		pod, c := container()
		node = a.node
		answer, err = a.CreateContainer(ctx, &api.CreateContainerRequest{Pod: pod, Container: c})
		return err
	})
	if err != nil || answer == nil {
		return nil, err
	}
	updateLogged(ctx, node, answer.GetUpdate())
	return answer.GetAdjust(), nil
}

// UndoCreateContainer sends StopContainer and RemoveContainer for a container that was not created
// after all.
func (p *Plugins) UndoCreateContainer(ctx context.Context, id string, container Subject) {
	p.StopContainer(ctx, container)
	p.RemoveContainer(ctx, id, container)
}

// PostCreateContainer is sent when a container is created.
func (p *Plugins) PostCreateContainer(ctx context.Context, container Subject) {
	p.notify(ctx, "PostCreateContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		return a.PostCreateContainer(ctx, &api.PostCreateContainerRequest{Pod: pod, Container: c})
	})
}

// StartContainer returns an error if a plugin refuses the start of a container.
func (p *Plugins) StartContainer(ctx context.Context, container Subject) error {
	return p.call(ctx, "StartContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		return a.StartContainer(ctx, &api.StartContainerRequest{Pod: pod, Container: c})
	})
}

// PostStartContainer is sent when the process of a container has started.
func (p *Plugins) PostStartContainer(ctx context.Context, container Subject) {
	p.notify(ctx, "PostStartContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		return a.PostStartContainer(ctx, &api.PostStartContainerRequest{Pod: pod, Container: c})
	})
}

// UpdateContainer returns the resources that plugins give to a container instead of the requested
// ones, or nil. It applies the updates of other containers that they request.
func (p *Plugins) UpdateContainer(ctx context.Context, id string, container Subject, resources *api.LinuxResources) (*api.LinuxResources, error) {
	var answer *api.UpdateContainerResponse
	var node Node
	err := p.call(ctx, "UpdateContainer", func(ctx context.Context, a *active) (err error) {
		pod, c := container()
		node = a.node
		answer, err = a.UpdateContainer(ctx, &api.UpdateContainerRequest{Pod: pod, Container: c, LinuxResources: resources})
		return err
	})
	if err != nil || answer == nil {
		return nil, err
	}
	var own *api.LinuxResources
	var others []*api.ContainerUpdate
	for _, u := range answer.GetUpdate() {
		if u.GetContainerId() == id {
			own = u.GetLinux().GetResources()
			continue
		}
		others = append(others, u)
	}
	updateLogged(ctx, node, others)
	return own, nil
}

// PostUpdateContainer is sent when a container has new resources.
func (p *Plugins) PostUpdateContainer(ctx context.Context, container Subject) {
	p.notify(ctx, "PostUpdateContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		return a.PostUpdateContainer(ctx, &api.PostUpdateContainerRequest{Pod: pod, Container: c})
	})
}

// StopContainer is sent when a container has ended, or when it is removed before it was started.
// Updates of other containers that plugins request are applied.
func (p *Plugins) StopContainer(ctx context.Context, container Subject) {
	var updates []*api.ContainerUpdate
	var node Node
	p.notify(ctx, "StopContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		node = a.node
		answer, err := a.StopContainer(ctx, &api.StopContainerRequest{Pod: pod, Container: c})
		updates = answer.GetUpdate()
		return err
	})
	updateLogged(ctx, node, updates)
}

// RemoveContainer is sent when a container is about to be deleted.
func (p *Plugins) RemoveContainer(ctx context.Context, id string, container Subject) {
	p.unseen.remove(id)
	p.notify(ctx, "RemoveContainer", func(ctx context.Context, a *active) error {
		pod, c := container()
		return a.RemoveContainer(ctx, &api.RemoveContainerRequest{Pod: pod, Container: c})
	})
}
