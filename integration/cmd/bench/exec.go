// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// execRuns is how often the command of an exec probe runs, per round and daemon.
const execRuns = 40

func execs(ctx context.Context, s *session) error {
	config := s.bench.PodConfig("exec")
	pod, err := s.client.RunPod(ctx, config)
	if err != nil {
		return err
	}
	id, err := s.client.Run(ctx, pod, config, harness.ContainerConfig(config, "main", image.Busybox, workload, "100000"))
	if err != nil {
		return err
	}
	request := &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}, Timeout: 30}
	if err := execTrue(ctx, s, request); err != nil {
		return err
	}
	err = s.recordCPU(ctx, "CPU of ExecSync true", execRuns, func() error {
		for range execRuns {
			start := time.Now()
			if err := execTrue(ctx, s, request); err != nil {
				return err
			}
			s.record("ExecSync true", "ms", milliseconds(time.Since(start)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.client.RemovePod(ctx, pod)
}

func execTrue(ctx context.Context, s *session, request *runtimeapi.ExecSyncRequest) error {
	answer, err := s.client.ExecSync(ctx, request)
	if err == nil && answer.ExitCode != 0 {
		err = fmt.Errorf("exec of true: exit code %d", answer.ExitCode)
	}
	return err
}
