// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"

	"github.com/containerd/nri/pkg/api"
)

// RunPodSandbox returns an error if a plugin refuses a pod that is set up and that callers do not
// see yet. Then StopPodSandbox and RemovePodSandbox have been sent.
//
// Until [Plugins.Seen] or [Plugins.RemovePodSandbox], Synchronize has the pod.
func (p *Plugins) RunPodSandbox(ctx context.Context, id string, pod Subject) error {
	err := p.callAfter(ctx, "RunPodSandbox", func() { p.unseen.add(id, pod) }, func(ctx context.Context, a *active) error {
		sandbox, _ := pod()
		return a.RunPodSandbox(ctx, &api.RunPodSandboxRequest{Pod: sandbox})
	})
	if err != nil {
		p.unseen.remove(id)
		p.StopPodSandbox(ctx, pod)
		p.RemovePodSandbox(ctx, id, pod)
	}
	return err
}

// Connected reports whether any plugin is connected.
func (p *Plugins) Connected() bool { return p.metrics.connected.Load() > 0 }

// Seen records that the Node lists the pod or container with this ID.
func (p *Plugins) Seen(id string) { p.unseen.remove(id) }

// UpdatePodSandbox returns an error if a plugin refuses new resources of a pod.
func (p *Plugins) UpdatePodSandbox(ctx context.Context, pod Subject, overhead, resources *api.LinuxResources) error {
	return p.call(ctx, "UpdatePodSandbox", func(ctx context.Context, a *active) error {
		sandbox, _ := pod()
		_, err := a.UpdatePodSandbox(ctx, &api.UpdatePodSandboxRequest{
			Pod: sandbox, OverheadLinuxResources: overhead, LinuxResources: resources,
		})
		return err
	})
}

// PostUpdatePodSandbox is sent when a pod has new resources.
func (p *Plugins) PostUpdatePodSandbox(ctx context.Context, pod Subject) {
	p.notify(ctx, "PostUpdatePodSandbox", func(ctx context.Context, a *active) error {
		sandbox, _ := pod()
		return a.PostUpdatePodSandbox(ctx, &api.PostUpdatePodSandboxRequest{Pod: sandbox})
	})
}

// StopPodSandbox is sent when the containers of a pod have ended, before the pod loses its network.
func (p *Plugins) StopPodSandbox(ctx context.Context, pod Subject) {
	p.notify(ctx, "StopPodSandbox", func(ctx context.Context, a *active) error {
		sandbox, _ := pod()
		return a.StopPodSandbox(ctx, &api.StopPodSandboxRequest{Pod: sandbox})
	})
}

// RemovePodSandbox is sent when a pod is removed.
func (p *Plugins) RemovePodSandbox(ctx context.Context, id string, pod Subject) {
	p.unseen.remove(id)
	p.notify(ctx, "RemovePodSandbox", func(ctx context.Context, a *active) error {
		sandbox, _ := pod()
		return a.RemovePodSandbox(ctx, &api.RemovePodSandboxRequest{Pod: sandbox})
	})
}
