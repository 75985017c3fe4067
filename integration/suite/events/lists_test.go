// SPDX-License-Identifier: Apache-2.0

package events

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// messageLimit is the maximum size of a message that the kubelet accepts and containerd sends.
const messageLimit = 16 << 20

// lists creates containers with more annotations than fit in one message. A client with gRPC's
// default limit of 4 MiB must be able to list them as a stream.
func lists(t *testing.T, b bench) {
	var pods, want []string
	for i := range 6 {
		config := b.PodConfig(fmt.Sprintf("lists-%d", i))
		pods = append(pods, b.Pod(t, config))
		for j := range 6 {
			want = append(want, b.heavy(t, pods[i], config, fmt.Sprintf("heavy-%d", j)))
		}
	}
	_, err := b.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{}, grpc.MaxCallRecvMsgSize(messageLimit))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ListContainers: %v, want ResourceExhausted: is there enough to list?", err)
	}
	stream, err := b.StreamContainers(t.Context(), &runtimeapi.StreamContainersRequest{})
	got, messages := collect(t, stream, err, func(m *runtimeapi.StreamContainersResponse) []string {
		return ids(m.Containers, (*runtimeapi.Container).GetId)
	})
	same(t, "StreamContainers", got, want)
	if messages < len(want)/2 {
		t.Errorf("%d messages of at most 1 MiB for %d containers of half a MiB", messages, len(want))
	}
	b.otherLists(t, want, pods)
}

// heavy creates a container with nearly the maximum of annotations.
func (b bench) heavy(t *testing.T, pod string, podConfig *runtimeapi.PodSandboxConfig, name string) string {
	t.Helper()
	config := harness.ContainerConfig(podConfig, name, image.Busybox, "true")
	config.Annotations = map[string]string{"note": strings.Repeat("x", 500<<10)}
	answer, err := b.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: podConfig})
	if err != nil {
		t.Fatal(err)
	}
	return answer.ContainerId
}

// otherLists compares the other streams with their unary calls.
func (b bench) otherLists(t *testing.T, containers, sandboxes []string) {
	t.Helper()
	pods, err := b.StreamPodSandboxes(t.Context(), &runtimeapi.StreamPodSandboxesRequest{})
	got, _ := collect(t, pods, err, func(m *runtimeapi.StreamPodSandboxesResponse) []string {
		return ids(m.PodSandboxes, (*runtimeapi.PodSandbox).GetId)
	})
	same(t, "StreamPodSandboxes", got, sandboxes)

	stats, err := b.StreamContainerStats(t.Context(), &runtimeapi.StreamContainerStatsRequest{})
	got, _ = collect(t, stats, err, func(m *runtimeapi.StreamContainerStatsResponse) []string {
		return ids(m.ContainerStats, func(s *runtimeapi.ContainerStats) string { return s.GetAttributes().GetId() })
	})
	same(t, "StreamContainerStats", got, containers)

	podStats, err := b.StreamPodSandboxStats(t.Context(), &runtimeapi.StreamPodSandboxStatsRequest{})
	got, _ = collect(t, podStats, err, func(m *runtimeapi.StreamPodSandboxStatsResponse) []string {
		return ids(m.PodSandboxStats, func(s *runtimeapi.PodSandboxStats) string { return s.GetAttributes().GetId() })
	})
	same(t, "StreamPodSandboxStats", got, sandboxes)

	metrics, err := b.StreamPodSandboxMetrics(t.Context(), &runtimeapi.StreamPodSandboxMetricsRequest{})
	got, _ = collect(t, metrics, err, func(m *runtimeapi.StreamPodSandboxMetricsResponse) []string {
		return ids(m.PodSandboxMetrics, (*runtimeapi.PodSandboxMetrics).GetPodSandboxId)
	})
	same(t, "StreamPodSandboxMetrics", got, sandboxes)

	listed, err := b.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	images, err := b.StreamImages(t.Context(), &runtimeapi.StreamImagesRequest{})
	got, _ = collect(t, images, err, func(m *runtimeapi.StreamImagesResponse) []string {
		return ids(m.Images, (*runtimeapi.Image).GetId)
	})
	same(t, "StreamImages", got, ids(listed.Images, (*runtimeapi.Image).GetId))
	if len(got) == 0 {
		t.Error("StreamImages: no image")
	}
}

// collect reads a stream to its end and counts its messages.
func collect[M any](t *testing.T, stream grpc.ServerStreamingClient[M], err error, items func(*M) []string) (all []string, messages int) {
	t.Helper()
	for err == nil {
		var message *M
		if message, err = stream.Recv(); err == nil {
			all = append(all, items(message)...)
			messages++
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	return all, messages
}

func ids[T any](items []T, id func(T) string) []string {
	var all []string
	for _, item := range items {
		all = append(all, id(item))
	}
	return all
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %s\nwant %s", what, got, want)
	}
}
