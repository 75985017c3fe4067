// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// idleFor is how long an idle node is watched: what a kubelet asks comes round at least once.
const idleFor = 20 * time.Second

func idle(ctx context.Context, n *node) error {
	return watchIdle(ctx, n, byCAdvisor, fmt.Sprintf("idle CPU, %d pods", len(n.pods)))
}

func idleByCRI(ctx context.Context, n *node) error {
	return watchIdle(ctx, n, byCRI, fmt.Sprintf("idle CPU, %d pods, PodAndContainerStatsFromCRI", len(n.pods)))
}

// watchIdle measures what the daemon and its helpers use on a node on which nothing happens but a
// kubelet's poll.
func watchIdle(ctx context.Context, n *node, source pollSource, row string) error {
	// What came before is over then.
	if err := poll(ctx, n.client, source, idleFor/4); err != nil {
		return err
	}
	before, err := runtimeCPU(n.bench)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := poll(ctx, n.client, source, idleFor); err != nil {
		return err
	}
	after, err := runtimeCPU(n.bench)
	if err != nil {
		return err
	}
	n.record(row, "ms/s", milliseconds(after-before)/time.Since(start).Seconds())
	return nil
}
