// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
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

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// withSomePods returns a server with a ready pod, aaa1, and a pod that is being stopped, aab2. The
// first has two containers, the second has one. Container cca1 was created; the others have exited.
func withSomePods(t *testing.T) *Server {
	t.Helper()
	aPod := func(id, app string, state pod.State) *pod.Record {
		return &pod.Record{ID: id, Name: id, State: state, CreatedAt: 1, Config: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: id},
			Labels:   map[string]string{"app": app},
		}}
	}
	aContainer := func(id, podID, app string, exited int64) *container.Record {
		return &container.Record{ID: id, Name: id, PodID: podID, Times: container.Times{Created: 1 + exited, Started: exited, Finished: exited}, Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: id},
			Labels:   map[string]string{"app": app, "tier": "x"},
		}}
	}
	return recovered(t,
		[]*pod.Record{aPod("aaa1", "web", pod.Ready), aPod("aab2", "db", pod.Stopping)},
		[]*container.Record{aContainer("cca1", "aaa1", "web", 0), aContainer("ccb2", "aaa1", "log", 2), aContainer("ccc3", "aab2", "db", 2)})
}

// list calls a List RPC or its Stream RPC and returns the ids.
type list[F any] func(context.Context, runtimeapi.RuntimeServiceClient, F) ([]string, error)

// collect reads a stream to its end.
func collect[M, T any](stream grpc.ServerStreamingClient[M], err error, items func(*M) []T, id func(T) string) ([]string, error) {
	var all []string
	for err == nil {
		var message *M
		if message, err = stream.Recv(); err == nil {
			all = append(all, ids(items(message), id)...)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

func ids[T any](items []T, id func(T) string) []string {
	var all []string
	for _, item := range items {
		all = append(all, id(item))
	}
	return all
}

// check expects the same ids from every list.
func check[F any](t *testing.T, c runtimeapi.RuntimeServiceClient, lists map[string]list[F], filter F, want string) {
	t.Helper()
	for name, run := range lists {
		got, err := run(t.Context(), c, filter)
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s with {%s}: [%s], %v, want [%s]", name, fmt.Sprint(filter), strings.Join(got, " "), err, want)
		}
	}
}

func TestPodLists(t *testing.T) {
	c := dial(t, withSomePods(t))
	id := (*runtimeapi.PodSandbox).GetId
	lists := map[string]list[*runtimeapi.PodSandboxFilter]{
		"ListPodSandbox": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.PodSandboxFilter) ([]string, error) {
			answer, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: f})
			return ids(answer.GetItems(), id), err
		},
		"StreamPodSandboxes": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.PodSandboxFilter) ([]string, error) {
			stream, err := c.StreamPodSandboxes(ctx, &runtimeapi.StreamPodSandboxesRequest{Filter: f})
			return collect(stream, err, (*runtimeapi.StreamPodSandboxesResponse).GetPodSandboxes, id)
		},
	}
	state := func(s runtimeapi.PodSandboxState) *runtimeapi.PodSandboxStateValue {
		return &runtimeapi.PodSandboxStateValue{State: s}
	}
	ready, notReady := state(runtimeapi.PodSandboxState_SANDBOX_READY), state(runtimeapi.PodSandboxState_SANDBOX_NOTREADY)
	check(t, c, lists, nil, "aaa1 aab2")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{}, "aaa1 aab2")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{Id: "aaa1"}, "aaa1")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{Id: "aa"}, "aaa1 aab2")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{Id: "aaa1x"}, "")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{Id: "ab"}, "")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{State: ready}, "aaa1")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{State: notReady}, "aab2")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"app": "db"}}, "aab2")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"app": "db", "no": ""}}, "")
	check(t, c, lists, &runtimeapi.PodSandboxFilter{Id: "aa", State: ready, LabelSelector: map[string]string{"app": "db"}}, "")
}

func TestContainerLists(t *testing.T) {
	c := dial(t, withSomePods(t))
	id := (*runtimeapi.Container).GetId
	lists := map[string]list[*runtimeapi.ContainerFilter]{
		"ListContainers": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.ContainerFilter) ([]string, error) {
			answer, err := c.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: f})
			return ids(answer.GetContainers(), id), err
		},
		"StreamContainers": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.ContainerFilter) ([]string, error) {
			stream, err := c.StreamContainers(ctx, &runtimeapi.StreamContainersRequest{Filter: f})
			return collect(stream, err, (*runtimeapi.StreamContainersResponse).GetContainers, id)
		},
	}
	state := func(s runtimeapi.ContainerState) *runtimeapi.ContainerStateValue {
		return &runtimeapi.ContainerStateValue{State: s}
	}
	check(t, c, lists, nil, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerFilter{}, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerFilter{Id: "ccb"}, "ccb2")
	check(t, c, lists, &runtimeapi.ContainerFilter{Id: "c2"}, "")
	check(t, c, lists, &runtimeapi.ContainerFilter{PodSandboxId: "aaa1"}, "cca1 ccb2")
	check(t, c, lists, &runtimeapi.ContainerFilter{PodSandboxId: "aa"}, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_CREATED)}, "cca1")
	check(t, c, lists, &runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_EXITED)}, "ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_RUNNING)}, "")
	check(t, c, lists, &runtimeapi.ContainerFilter{LabelSelector: map[string]string{"tier": "x"}}, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerFilter{LabelSelector: map[string]string{"tier": "x", "app": "log"}}, "ccb2")
	check(t, c, lists, &runtimeapi.ContainerFilter{Id: "cc", PodSandboxId: "aab2", LabelSelector: map[string]string{"app": "web"}}, "")
}

func TestContainerStatsLists(t *testing.T) {
	c := dial(t, withSomePods(t))
	id := func(s *runtimeapi.ContainerStats) string { return s.GetAttributes().GetId() }
	lists := map[string]list[*runtimeapi.ContainerStatsFilter]{
		"ListContainerStats": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.ContainerStatsFilter) ([]string, error) {
			answer, err := c.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{Filter: f})
			return ids(answer.GetStats(), id), err
		},
		"StreamContainerStats": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.ContainerStatsFilter) ([]string, error) {
			stream, err := c.StreamContainerStats(ctx, &runtimeapi.StreamContainerStatsRequest{Filter: f})
			return collect(stream, err, (*runtimeapi.StreamContainerStatsResponse).GetContainerStats, id)
		},
	}
	check(t, c, lists, nil, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerStatsFilter{}, "cca1 ccb2 ccc3")
	check(t, c, lists, &runtimeapi.ContainerStatsFilter{Id: "cca"}, "cca1")
	check(t, c, lists, &runtimeapi.ContainerStatsFilter{PodSandboxId: "aab"}, "ccc3")
	check(t, c, lists, &runtimeapi.ContainerStatsFilter{LabelSelector: map[string]string{"app": "log"}}, "ccb2")
	check(t, c, lists, &runtimeapi.ContainerStatsFilter{Id: "cca", PodSandboxId: "aab"}, "")
}

func TestPodStatsLists(t *testing.T) {
	c := dial(t, withSomePods(t))
	id := func(s *runtimeapi.PodSandboxStats) string { return s.GetAttributes().GetId() }
	lists := map[string]list[*runtimeapi.PodSandboxStatsFilter]{
		"ListPodSandboxStats": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.PodSandboxStatsFilter) ([]string, error) {
			answer, err := c.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{Filter: f})
			return ids(answer.GetStats(), id), err
		},
		"StreamPodSandboxStats": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, f *runtimeapi.PodSandboxStatsFilter) ([]string, error) {
			stream, err := c.StreamPodSandboxStats(ctx, &runtimeapi.StreamPodSandboxStatsRequest{Filter: f})
			return collect(stream, err, (*runtimeapi.StreamPodSandboxStatsResponse).GetPodSandboxStats, id)
		},
	}
	check(t, c, lists, nil, "aaa1 aab2")
	check(t, c, lists, &runtimeapi.PodSandboxStatsFilter{}, "aaa1 aab2")
	check(t, c, lists, &runtimeapi.PodSandboxStatsFilter{Id: "aab"}, "aab2")
	check(t, c, lists, &runtimeapi.PodSandboxStatsFilter{LabelSelector: map[string]string{"app": "web"}}, "aaa1")
	check(t, c, lists, &runtimeapi.PodSandboxStatsFilter{Id: "aab", LabelSelector: map[string]string{"app": "web"}}, "")
}

func TestPodMetricsLists(t *testing.T) {
	c := dial(t, withSomePods(t))
	id := (*runtimeapi.PodSandboxMetrics).GetPodSandboxId
	check(t, c, map[string]list[any]{
		"ListPodSandboxMetrics": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, _ any) ([]string, error) {
			answer, err := c.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
			return ids(answer.GetPodMetrics(), id), err
		},
		"StreamPodSandboxMetrics": func(ctx context.Context, c runtimeapi.RuntimeServiceClient, _ any) ([]string, error) {
			stream, err := c.StreamPodSandboxMetrics(ctx, &runtimeapi.StreamPodSandboxMetricsRequest{})
			return collect(stream, err, (*runtimeapi.StreamPodSandboxMetricsResponse).GetPodSandboxMetrics, id)
		},
	}, nil, "aaa1 aab2")
}

// A call for one object accepts an unambiguous prefix of its id.
func TestIDPrefixes(t *testing.T) {
	c := dial(t, withSomePods(t))
	for id, want := range map[string]codes.Code{
		"aaa1": codes.OK, "aaa": codes.OK, "aa": codes.InvalidArgument, "x": codes.NotFound, "": codes.InvalidArgument, "cca1": codes.NotFound,
	} {
		answer, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		if status.Code(err) != want || err == nil && answer.GetStatus().GetId() != "aaa1" {
			t.Errorf("PodSandboxStatus of %q: %v, %v, want %s", id, answer.GetStatus().GetId(), err, want)
		}
	}
	for id, want := range map[string]codes.Code{
		"cca1": codes.OK, "cca": codes.OK, "cc": codes.InvalidArgument, "x": codes.NotFound, "": codes.InvalidArgument, "aaa1": codes.NotFound,
	} {
		answer, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
		if status.Code(err) != want || err == nil && answer.GetStatus().GetId() != "cca1" {
			t.Errorf("ContainerStatus of %q: %v, %v, want %s", id, answer.GetStatus().GetId(), err, want)
		}
	}
}
