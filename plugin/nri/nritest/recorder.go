// SPDX-License-Identifier: Apache-2.0

package nritest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/nri/pkg/api"

	"github.com/containerd-lite/containerd-lite/plugin/nri"
)

// Recorder records the calls of plugins as lines "event name state". Its zero value agrees to
// everything.
type Recorder struct {
	// Refuse maps an event to the error of the plugins.
	Refuse map[string]error
	// Adjust is the answer to CreateContainer, and Resources that to UpdateContainer.
	Adjust    *api.ContainerAdjustment
	Resources *api.LinuxResources

	mu     sync.Mutex
	events []string
	unseen []string
}

// Events returns the events since the last call.
func (r *Recorder) Events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// Unseen returns the objects that were sent to plugins and are neither seen nor removed.
func (r *Recorder) Unseen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unseen)
}

func (r *Recorder) record(event string, s nri.Subject) error {
	pod, container := s()
	line := event + " " + pod.GetName()
	if container != nil {
		line = fmt.Sprintf("%s %s %s", event, container.GetName(), container.GetState())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, line)
	return r.Refuse[event]
}

func (r *Recorder) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unseen = append(r.unseen, id)
}

// Seen implements the interfaces of packages pod and container.
func (r *Recorder) Seen(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unseen = slices.DeleteFunc(r.unseen, func(other string) bool { return other == id })
}

// Connected implements container.Plugins.
func (r *Recorder) Connected() bool { return true }

// RunPodSandbox implements pod.Plugins.
func (r *Recorder) RunPodSandbox(_ context.Context, id string, pod nri.Subject) error {
	err := r.record("RunPodSandbox", pod)
	if err == nil {
		r.add(id)
	}
	return err
}

// UpdatePodSandbox implements pod.Plugins.
func (r *Recorder) UpdatePodSandbox(_ context.Context, pod nri.Subject, _, _ *api.LinuxResources) error {
	return r.record("UpdatePodSandbox", pod)
}

// PostUpdatePodSandbox implements pod.Plugins.
func (r *Recorder) PostUpdatePodSandbox(_ context.Context, pod nri.Subject) {
	_ = r.record("PostUpdatePodSandbox", pod)
}

// StopPodSandbox implements pod.Plugins.
func (r *Recorder) StopPodSandbox(_ context.Context, pod nri.Subject) {
	_ = r.record("StopPodSandbox", pod)
}

// RemovePodSandbox implements pod.Plugins.
func (r *Recorder) RemovePodSandbox(_ context.Context, id string, pod nri.Subject) {
	r.Seen(id)
	_ = r.record("RemovePodSandbox", pod)
}

// CreateContainer implements container.Plugins.
func (r *Recorder) CreateContainer(_ context.Context, id string, c nri.Subject) (*api.ContainerAdjustment, error) {
	r.add(id)
	if err := r.record("CreateContainer", c); err != nil {
		return nil, err
	}
	return r.Adjust, nil
}

// UndoCreateContainer implements container.Plugins.
func (r *Recorder) UndoCreateContainer(ctx context.Context, id string, c nri.Subject) {
	r.StopContainer(ctx, c)
	r.RemoveContainer(ctx, id, c)
}

// PostCreateContainer implements container.Plugins.
func (r *Recorder) PostCreateContainer(_ context.Context, c nri.Subject) {
	_ = r.record("PostCreateContainer", c)
}

// StartContainer implements container.Plugins.
func (r *Recorder) StartContainer(_ context.Context, c nri.Subject) error {
	return r.record("StartContainer", c)
}

// PostStartContainer implements container.Plugins.
func (r *Recorder) PostStartContainer(_ context.Context, c nri.Subject) {
	_ = r.record("PostStartContainer", c)
}

// UpdateContainer implements container.Plugins.
func (r *Recorder) UpdateContainer(_ context.Context, _ string, c nri.Subject, _ *api.LinuxResources) (*api.LinuxResources, error) {
	return r.Resources, r.record("UpdateContainer", c)
}

// PostUpdateContainer implements container.Plugins.
func (r *Recorder) PostUpdateContainer(_ context.Context, c nri.Subject) {
	_ = r.record("PostUpdateContainer", c)
}

// StopContainer implements container.Plugins.
func (r *Recorder) StopContainer(_ context.Context, c nri.Subject) { _ = r.record("StopContainer", c) }

// RemoveContainer implements container.Plugins.
func (r *Recorder) RemoveContainer(_ context.Context, id string, c nri.Subject) {
	r.Seen(id)
	_ = r.record("RemoveContainer", c)
}
