// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// badStats is zeroStats that panics on demand.
type badStats struct {
	zeroStats
	panics atomic.Bool
}

func (b *badStats) boom() {
	if b.panics.Load() {
		panic("boom")
	}
}

func (b *badStats) ContainerStats(r *container.Record) *runtimeapi.ContainerStats {
	b.boom()
	return b.zeroStats.ContainerStats(r)
}

func (b *badStats) PodMetrics(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxMetrics {
	b.boom()
	return b.zeroStats.PodMetrics(r, members)
}

func (b *badStats) MetricDescriptors() []*runtimeapi.MetricDescriptor {
	b.boom()
	return nil
}

// A panic in an RPC, or in one of its goroutines, fails that RPC only.
func TestPanicInAnRPCIsInternal(t *testing.T) {
	pods := []*pod.Record{{ID: "p1", Name: "p1", State: pod.Ready}, {ID: "p2", Name: "p2", State: pod.Ready}}
	containers := []*container.Record{{ID: "c1", Name: "c1", PodID: "p1"}, {ID: "c2", Name: "c2", PodID: "p2"}}
	s := recovered(t, pods, containers)
	stats := new(badStats)
	s.Stats = stats
	client := dial(t, s)
	calls := map[string]func() error{
		"unary": func() error {
			_, err := client.ListMetricDescriptors(t.Context(), &runtimeapi.ListMetricDescriptorsRequest{})
			return err
		},
		"unary with goroutines": func() error {
			_, err := client.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{})
			return err
		},
		"unary metrics": func() error {
			_, err := client.ListPodSandboxMetrics(t.Context(), &runtimeapi.ListPodSandboxMetricsRequest{})
			return err
		},
		"stream with goroutines": func() error {
			stream, err := client.StreamContainerStats(t.Context(), &runtimeapi.StreamContainerStatsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"stream metrics": func() error {
			stream, err := client.StreamPodSandboxMetrics(t.Context(), &runtimeapi.StreamPodSandboxMetricsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			before := guard.Count()
			stats.panics.Store(true)
			if err := call(); status.Code(err) != codes.Internal {
				t.Errorf("with a panic: %v, want Internal", err)
			}
			if guard.Count() == before {
				t.Error("the panic is not counted")
			}
			stats.panics.Store(false)
			if err := call(); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}
