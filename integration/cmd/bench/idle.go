// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"
)

// idleFor is how long an idle node is measured: each request of poll is sent at least once.
const idleFor = 20 * time.Second

func idle(ctx context.Context, n *node) error {
	return watchIdle(ctx, n, byCAdvisor, "idle CPU")
}

func idleByCRI(ctx context.Context, n *node) error {
	return watchIdle(ctx, n, byCRI, "idle CPU, PodAndContainerStatsFromCRI")
}

// watchIdle measures the CPU time of the daemon and its helpers on a node without any activity
// except a kubelet's poll.
func watchIdle(ctx context.Context, n *node, source pollSource, row string) error {
	// Work caused by earlier calls must not be measured.
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
