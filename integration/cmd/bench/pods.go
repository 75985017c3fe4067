// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const (
	serialPods = 20 // run one after the other, per round and daemon
	inFlight   = 10 // run at the same time
	flightPods = 60 // run in total, inFlight at a time, per round and daemon
)

func hostPods(ctx context.Context, s *session) error {
	config := s.bench.PodConfig("pod")
	harness.OnHostNetwork(config)
	return serial(ctx, s, config, "host network")
}

func cniPods(ctx context.Context, s *session) error {
	return serial(ctx, s, s.bench.PodConfig("pod"), "CNI")
}

// serial runs and removes pods, one after the other. The first one is not recorded: it creates the
// bridge and fills the page cache.
func serial(ctx context.Context, s *session, config *runtimeapi.PodSandboxConfig, network string) error {
	for i := range serialPods + 1 {
		life := podLife{client: s.client, config: config}
		if err := life.run(ctx); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		s.record("pod up, "+network, "ms", milliseconds(total(life.up)))
		s.record("pod down, "+network, "ms", milliseconds(total(life.down)))
		for _, call := range slices.Concat(life.up, life.down) {
			s.record(call.rpc+", "+network, "ms", milliseconds(call.took))
		}
	}
	return nil
}

// podsInFlight runs and removes several pods at the same time.
func podsInFlight(ctx context.Context, s *session) error {
	if err := (&podLife{client: s.client, config: s.bench.PodConfig("first")}).run(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for worker := range inFlight {
		config := s.bench.PodConfig(fmt.Sprint("pod-", worker))
		group.Go(func() error {
			for range flightPods / inFlight {
				life := podLife{client: s.client, config: config}
				if err := life.run(ctx); err != nil {
					return err
				}
				s.record("pod up, ten in flight, CNI", "ms", milliseconds(total(life.up)))
				s.record("pod down, ten in flight, CNI", "ms", milliseconds(total(life.down)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.record("pods per second, ten in flight, CNI", "1/s", flightPods/time.Since(start).Seconds())
	return nil
}
