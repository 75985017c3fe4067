// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/runtime/runtimetest"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// recovered returns a ready server whose managers have recovered these records. No container has a
// task: one that was running has exited.
func recovered(tb testing.TB, pods []*pod.Record, containers []*container.Record) *Server {
	tb.Helper()
	return serverOf(tb, saved(tb, pods, containers), container.Logs{})
}

// saved returns a containerd that has these records.
func saved(tb testing.TB, pods []*pod.Record, containers []*container.Record) *runtimetest.Containerd {
	tb.Helper()
	containerd := runtimetest.New(nil) // no record is saved
	for _, r := range pods {
		containerd.SandboxRecords[r.ID] = encoded(tb, r)
	}
	for _, r := range containers {
		containerd.ContainerRecords[r.ID] = encoded(tb, r)
	}
	containerd.Fail("read spec", errdefs.ErrFailedPrecondition) // no container can be updated
	return containerd
}

// serverOf returns a ready server whose managers have recovered the records of a containerd.
func serverOf(tb testing.TB, containerd *runtimetest.Containerd, logs container.Logs) *Server {
	tb.Helper()
	hub := event.NewHub(time.Now)
	podManager := pod.New(tb.Context(), pod.Deps{
		Records:    containerd,
		Namespaces: allPinned{},
		Network:    noNetworks{},
		Files:      noFiles{},
		Tasks:      runningTasks{},
		Labels:     noSELinux{},
		Events:     hub,
		Plugins:    nri.Disabled(),
		Hostname:   func() (string, error) { return "node", nil },

		Unprivileged: func() pod.Unprivileged { return pod.Unprivileged{} },
	})
	tb.Cleanup(podManager.Close)
	if err := podManager.Recover(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	logs.MaxLine = func() int { return 0 }
	containerManager := container.New(tb.Context(), container.Deps{
		Containerd: containerd,
		Pods:       podManager,
		Labels:     noSELinux{},
		Events:     hub,
		Plugins:    nri.Disabled(),
		Dirs:       container.Dirs{Paths: paths.Paths{Root: dir, State: dir}},
		Logs:       logs,
		Execs:      container.ExecSyncOptions{Drain: func() time.Duration { return 0 }},
	})
	tb.Cleanup(containerManager.Close)
	if err := containerManager.Recover(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	s := New(Deps{Pods: podManager, Containers: containerManager, Images: fakeImages{}, Events: hub, Stats: zeroStats{}, ShowEnvValues: func() bool { return false }})
	s.SetReady()
	return s
}

func encoded(tb testing.TB, record any) []byte {
	tb.Helper()
	text, err := json.Marshal(record)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// allPinned has the namespaces of every pod.
type allPinned struct{ pod.Namespaces }

func (allPinned) Pinned(network.Namespaces) bool { return true }

// noNetworks has no pod attached to a network.
type noNetworks struct{ pod.Network }

func (noNetworks) Attached() (map[string]string, error) { return nil, nil }

// noFiles has files of no pod.
type noFiles struct{ pod.Files }

func (noFiles) IDs() ([]string, error) { return nil, nil }

// runningTasks has a running task for every pod.
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
