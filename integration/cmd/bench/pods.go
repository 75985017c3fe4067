// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// Numbers of pods per round and contestant.
const (
	churnPods  = 10 // one after the other, each is removed before the next one comes
	fillPods   = 15 // come one after the other, then go one after the other
	inFlight   = 10 // at the same time
	flightPods = 60 // in total, inFlight at a time
)

// Names of the networks and patterns in rows of the table.
const (
	hostNetwork = "host network"
	cniNetwork  = "CNI"
	filling     = ", node that fills"
	churning    = ", node that churns"
)

// podConfig returns the config of a pod on a network.
func (s *session) podConfig(network, name string) *runtimeapi.PodSandboxConfig {
	config := s.bench.PodConfig(name)
	if network == hostNetwork {
		harness.OnHostNetwork(config)
	}
	return config
}

func churnHost(ctx context.Context, s *session) error { return churn(ctx, s, hostNetwork) }
func churnCNI(ctx context.Context, s *session) error  { return churn(ctx, s, cniNetwork) }
func fillHost(ctx context.Context, s *session) error  { return fill(ctx, s, hostNetwork) }
func fillCNI(ctx context.Context, s *session) error   { return fill(ctx, s, cniNetwork) }

// churn runs and removes pods, one after the other.
func churn(ctx context.Context, s *session, network string) error {
	life := podLife{client: s.client, config: s.podConfig(network, "pod")}
	if err := life.run(ctx); err != nil { // creates the bridge and fills the page cache
		return err
	}
	return s.recordCPU(ctx, "CPU of a pod's life, "+network+churning, churnPods, func() error {
		for range churnPods {
			life := podLife{client: s.client, config: life.config}
			if err := life.run(ctx); err != nil {
				return err
			}
			life.recordUp(s, network+churning)
			life.recordDown(s, network+churning)
		}
		return nil
	})
}

// fill runs pods, one after the other, then removes them in the same order.
func fill(ctx context.Context, s *session, network string) error {
	first := podLife{client: s.client, config: s.podConfig(network, "first")}
	if err := first.start(ctx); err != nil {
		return err
	}
	lives := make([]podLife, fillPods)
	err := s.recordCPU(ctx, "CPU of pod up, "+network, fillPods, func() error {
		for i := range lives {
			lives[i] = podLife{client: s.client, config: s.podConfig(network, fmt.Sprint("pod-", i))}
			if err := lives[i].start(ctx); err != nil {
				return err
			}
			lives[i].recordUp(s, network+filling)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = s.recordCPU(ctx, "CPU of pod down, "+network, fillPods, func() error {
		for i := range lives {
			if err := lives[i].end(ctx); err != nil {
				return err
			}
			lives[i].recordDown(s, network+filling)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return first.end(ctx)
}

// podsInFlight runs and removes several pods at the same time.
func podsInFlight(ctx context.Context, s *session) error {
	if err := (&podLife{client: s.client, config: s.podConfig(cniNetwork, "first")}).run(ctx); err != nil {
		return err
	}
	return s.recordCPU(ctx, "CPU of a pod's life, ten in flight, CNI", flightPods, func() error {
		group, ctx := errgroup.WithContext(ctx)
		start := time.Now()
		for worker := range inFlight {
			config := s.podConfig(cniNetwork, fmt.Sprint("pod-", worker))
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
		err := group.Wait()
		s.record("pods per second, ten in flight, CNI", "1/s", flightPods/time.Since(start).Seconds())
		return err
	})
}
