// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// restarts is how often the daemon is restarted on a full node, per round and daemon.
const restarts = 2

// restart measures the time from the start of the daemon's process until ListContainers returns
// every container as running.
func restart(ctx context.Context, n *node) error {
	for range restarts {
		if err := n.bench.Daemon.Stop(); err != nil {
			return err
		}
		start := time.Now()
		if err := n.bench.Daemon.Launch(); err != nil {
			return err
		}
		if err := n.awaitList(ctx); err != nil {
			return err
		}
		n.record("daemon's start to a complete list", "ms", milliseconds(time.Since(start)))
	}
	return nil
}

// awaitList returns when the list is complete. It gives the node a new, connected client: the old
// one would wait for a second before it reconnects.
func (n *node) awaitList(ctx context.Context) error {
	conn, err := retry(ctx, n, func() (net.Conn, error) { return net.Dial("unix", n.bench.Daemon.Socket) })
	if err != nil {
		return fmt.Errorf("connect to the daemon: %w", err)
	}
	conn.Close()
	n.client.Close()
	if n.client, err = n.bench.CRI(); err != nil {
		return err
	}
	_, err = retry(ctx, n, func() (int, error) {
		answer, err := n.client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
		if err != nil {
			return 0, err
		}
		running := 0
		for _, c := range answer.Containers {
			if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
				running++
			}
		}
		if want := len(n.containers()); running != want {
			return 0, fmt.Errorf("%d running containers, want %d", running, want)
		}
		return running, nil
	})
	return err
}

// retry calls try a thousand times a second while the daemon runs.
func retry[T any](ctx context.Context, n *node, try func() (T, error)) (T, error) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		result, err := try()
		if err == nil {
			return result, nil
		}
		select {
		case <-ticker.C:
		case <-n.bench.Daemon.Ended():
			return result, fmt.Errorf("the daemon has exited: %w", err)
		case <-ctx.Done():
			return result, err
		}
	}
}
