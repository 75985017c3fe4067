// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// idleFor is how long an idle node is watched: what a kubelet asks comes round at least once.
const idleFor = 30 * time.Second

// idle measures what the daemon and its helpers use on a node on which nothing happens but a kubelet's poll.
func idle(ctx context.Context, n *node) error {
	if err := n.settle(ctx); err != nil {
		return err
	}
	for _, source := range []struct {
		pollSource
		row string
	}{
		{byCAdvisor, "idle CPU, %d pods"},
		{byCRI, "idle CPU, %d pods, kubelet takes pod statistics from the CRI"},
	} {
		before, err := runtimeCPU(n.bench)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := poll(ctx, n.client, source.pollSource, idleFor); err != nil {
			return err
		}
		after, err := runtimeCPU(n.bench)
		if err != nil {
			return err
		}
		n.record(fmt.Sprintf(source.row, len(n.pods)), "ms/s", milliseconds(after-before)/time.Since(start).Seconds())
	}
	return nil
}
