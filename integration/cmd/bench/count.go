// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// countedRuns is the number of pods or execs that are counted: deferred work of containerd, such as
// garbage collection, serves several pods.
const countedRuns = 5

// countAll counts the system calls, the programs that are started and the disk syncs of pods and
// execs. It measures no time.
func countAll(ctx context.Context, s *session) error {
	for _, network := range []string{hostNetwork, cniNetwork} {
		config := s.podConfig(network, "pod")
		pod := func() error { return (&podLife{client: s.client, config: config}).run(ctx) }
		if err := s.recordCounts(ctx, "a pod's life, "+network, pod); err != nil {
			return err
		}
	}
	life := podLife{client: s.client, config: s.podConfig(hostNetwork, "pod")}
	if err := life.start(ctx); err != nil {
		return err
	}
	request := &runtimeapi.ExecSyncRequest{ContainerId: life.containers[0], Cmd: []string{"true"}}
	exec := func() error {
		_, err := s.client.ExecSync(ctx, request)
		return err
	}
	if err := s.recordCounts(ctx, "ExecSync", exec); err != nil {
		return err
	}
	return life.end(ctx)
}

// recordCounts runs work once, and then counts the events of several runs.
func (s *session) recordCounts(ctx context.Context, of string, work func() error) error {
	if err := work(); err != nil {
		return err
	}
	if _, err := s.restingCPU(ctx); err != nil {
		return err
	}
	before, err := s.bench.Meter.Counts()
	if err != nil {
		return err
	}
	for range countedRuns {
		if err := work(); err != nil {
			return err
		}
	}
	if _, err := s.restingCPU(ctx); err != nil {
		return err
	}
	after, err := s.bench.Meter.Counts()
	if err != nil {
		return err
	}
	counts := after.Sub(before)
	s.record("system calls of "+of, "calls", float64(counts.SystemCalls)/countedRuns)
	s.record("process starts of "+of, "starts", float64(counts.Programs)/countedRuns)
	s.record("disk syncs of "+of, "syncs", float64(counts.Syncs)/countedRuns)
	return nil
}
