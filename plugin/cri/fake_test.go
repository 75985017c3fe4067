// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// recovered returns a ready server whose managers have recovered these records. No container is
// runningTasks: a container that was runningTasks has exited.
func recovered(t *testing.T, pods []*pod.Record, containers []*container.Record) *Server {
	t.Helper()
	hub := event.NewHub(time.Now)
	podManager := pod.New(t.Context(), pod.Deps{
		Records:    savedPods{list: saved(t, pods, func(r *pod.Record) string { return r.ID })},
		Namespaces: allPinned{},
		Network:    noNetworks{},
		Files:      noFiles{},
		Tasks:      runningTasks{},
		Labels:     noSELinux{},
		Events:     hub,
		Hostname:   func() (string, error) { return "node", nil },
	})
	t.Cleanup(podManager.Close)
	if err := podManager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	containerManager := container.New(t.Context(), container.Deps{
		Containerd: savedContainers{list: saved(t, containers, func(r *container.Record) string { return r.ID })},
		Pods:       podManager,
		Labels:     noSELinux{},
		Events:     hub,
		Dirs:       container.Dirs{Paths: paths.Paths{Root: dir, State: dir}},
	})
	t.Cleanup(containerManager.Close)
	if err := containerManager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := New(Deps{Pods: podManager, Containers: containerManager, Images: fakeImages{}, Events: hub, Stats: zeroStats{}})
	s.SetReady()
	return s
}

func saved[T any](t *testing.T, records []T, id func(T) string) []runtime.Record {
	t.Helper()
	var list []runtime.Record
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, runtime.Record{ID: id(r), JSON: text})
	}
	return list
}

// savedPods is a read-only store of pod records.
type savedPods struct {
	pod.Records
	list []runtime.Record
}

func (s savedPods) Sandboxes(context.Context) ([]runtime.Record, error) { return s.list, nil }

// allPinned has the namespaces of every pod.
type allPinned struct{ pod.Namespaces }

func (allPinned) Pinned(network.Namespaces) bool { return true }

// noNetworks has no pod attached to a network.
type noNetworks struct{ pod.Network }

func (noNetworks) Attached() (map[string]string, error) { return nil, nil }

// noFiles has files of no pod.
type noFiles struct{ pod.Files }

func (noFiles) IDs() ([]string, error) { return nil, nil }

// runningTasks has a runningTasks task for every pod.
type runningTasks struct{ pod.Tasks }

func (runningTasks) Wait(ctx context.Context, _ string) (<-chan runtime.ExitStatus, error) {
	exited := make(chan runtime.ExitStatus)
	context.AfterFunc(ctx, func() { close(exited) })
	return exited, nil
}

// noSELinux is a machine without SELinux.
type noSELinux struct{}

func (noSELinux) Labels(*runtimeapi.SELinuxOption, string) (spec.Labels, error) {
	return spec.Labels{}, nil
}
func (noSELinux) Reserve(string) {}
func (noSELinux) Release(string) {}

// savedContainers is a store of container records that have no task.
type savedContainers struct {
	container.Containerd
	list []runtime.Record
}

func (s savedContainers) Containers(context.Context) ([]runtime.Record, error) {
	return s.list, nil
}

func (savedContainers) Knows(context.Context, string) (bool, error) { return true, nil }

func (savedContainers) LoadTask(context.Context, string, cio.Attach) (runtime.Task, error) {
	return nil, errdefs.ErrNotFound
}

// Spec returns ErrFailedPrecondition: no container can be updated.
func (savedContainers) Spec(context.Context, string) (*specs.Spec, error) {
	return nil, errdefs.ErrFailedPrecondition
}

func (savedContainers) RenewLease(context.Context) error { return nil }

func (savedContainers) DeleteTask(context.Context, string) error { return nil }

// fakeImages has images by id.
type fakeImages struct {
	Images
	byID map[string]image.Image
}

func (t fakeImages) ByID(id string) (image.Image, bool) {
	img, ok := t.byID[id]
	return img, ok
}

// zeroStats measures that nothing is used.
type zeroStats struct{}

func (zeroStats) ContainerStats(r *container.Record) *runtimeapi.ContainerStats {
	return &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{Id: r.ID}}
}

func (zeroStats) PodStats(r *pod.Record, _ []*container.Record) *runtimeapi.PodSandboxStats {
	return &runtimeapi.PodSandboxStats{Attributes: &runtimeapi.PodSandboxAttributes{Id: r.ID}}
}

func (zeroStats) PodMetrics(r *pod.Record, _ []*container.Record) *runtimeapi.PodSandboxMetrics {
	return &runtimeapi.PodSandboxMetrics{PodSandboxId: r.ID}
}

func (zeroStats) MetricDescriptors() []*runtimeapi.MetricDescriptor { return nil }
