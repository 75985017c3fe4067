// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

const (
	scalePerPod = 2 // containers in each pod
	scaleReads  = 100
	nextPods    = 5 // pods that come and go on a node of one size, as often as nextTimes
	nextTimes   = 2
)

// scaleLoads returns the loads of `make bench-scale`.
func scaleLoads(sizes []int) []load {
	return []load{
		{
			name: "scale", variants: []string{sharingNode},
			run: func(ctx context.Context, s *session) error { return scale(ctx, s, sizes) },
		},
		{name: "storm", variants: []string{sharingNode}, run: storm},
	}
}

// scaleComparison is [againstStock] without A/A: each size is measured twice anyway.
func scaleComparison(environment harness.Options) comparison {
	c := againstStock(environment, false)
	c.contestants = slices.DeleteFunc(c.contestants, func(one contestant) bool { return one.role == again })
	return c
}

// parseSizes parses numbers of pods, separated by commas or spaces, and sorts them.
func parseSizes(text string) ([]int, error) {
	var sizes []int
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		size, err := strconv.Atoi(field)
		if err != nil || size < 1 {
			return nil, fmt.Errorf("-scale: %q is no number of pods", field)
		}
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

// scale fills a node, size by size, then empties it in the same steps, and measures each size on
// both ways: the speed of the machine drifts during the minutes in between, which would otherwise
// look like a cost of many pods. Each way counts as a round.
func scale(ctx context.Context, s *session, sizes []int) error {
	s.round *= 2
	n := &node{session: s, perPod: scalePerPod, reads: scaleReads, callCPU: true}
	for _, size := range sizes {
		progress("  fill to %d pods", size)
		if err := n.change(ctx, size, "pod up, ten in flight", func() error { return n.fill(ctx, size) }); err != nil {
			return err
		}
		if err := n.each(ctx, next, calls, database, restart); err != nil {
			return err
		}
		if s.round > 0 { // the others take a minute, and hardly differ from round to round
			continue
		}
		if err := n.each(ctx, memory, idle); err != nil {
			return err
		}
	}
	s.round++
	for i, size := range slices.Backward(sizes) {
		progress("  again with %d pods", size)
		if err := n.each(ctx, next, calls, restart); err != nil {
			return err
		}
		smaller := 0
		if i > 0 {
			smaller = sizes[i-1]
		}
		if err := n.change(ctx, size, "pod down, ten in flight", func() error { return n.shrink(ctx, smaller) }); err != nil {
			return err
		}
	}
	return nil
}

// each makes several measurements.
func (n *node) each(ctx context.Context, measure ...func(context.Context, *node) error) error {
	for _, one := range measure {
		if err := one(ctx, n); err != nil {
			return fmt.Errorf("%d pods: %w", len(n.pods), err)
		}
	}
	return nil
}

// change records the time and the CPU time per pod of work that adds or removes pods, for a number
// of pods.
func (n *node) change(ctx context.Context, pods int, row string, work func() error) error {
	before, start := len(n.pods), time.Now()
	var took time.Duration
	used, err := n.cpuOf(ctx, func() error {
		err := work()
		took = time.Since(start)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", row, err)
	}
	count := float64(max(before, len(n.pods)) - min(before, len(n.pods)))
	n.into.add(n.session, row, pods, "ms", milliseconds(took)/count)
	n.into.add(n.session, "CPU of "+row, pods, "ms", milliseconds(used)/count)
	return nil
}

// next measures the next pods on a full node.
func next(ctx context.Context, n *node) error {
	for _, network := range []string{hostNetwork, cniNetwork} {
		for range nextTimes {
			if err := nextOn(ctx, n, network); err != nil {
				return fmt.Errorf("next pod, %s: %w", network, err)
			}
		}
	}
	delays, err := n.besideKubelet(ctx, func() error {
		for range nextPods {
			life := n.nextLife(cniNetwork)
			if err := life.run(ctx); err != nil {
				return err
			}
			n.record("next pod up, CNI, beside a kubelet", "ms", milliseconds(total(life.up)))
		}
		return nil
	})
	for _, delay := range delays {
		n.record("GetContainerEvents, until an event arrives", "ms", delay)
	}
	return err
}

// nextLife returns a pod that is not one of the node's.
func (n *node) nextLife(network string) *podLife {
	n.extra++
	return &podLife{client: n.client, config: n.podConfig(network, fmt.Sprint("next-", n.extra)), count: n.perPod}
}

func nextOn(ctx context.Context, n *node, network string) error {
	var lives []*podLife
	used, err := n.cpuOf(ctx, func() error {
		for range nextPods {
			life := n.nextLife(network)
			if err := life.start(ctx); err != nil {
				return err
			}
			lives = append(lives, life)
			n.record("next pod up, "+network, "ms", milliseconds(total(life.up)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	n.record("CPU of next pod up, "+network, "ms", milliseconds(used)/nextPods)
	used, err = n.cpuOf(ctx, func() error {
		for _, life := range lives {
			if err := life.end(ctx); err != nil {
				return err
			}
			n.record("next pod down, "+network, "ms", milliseconds(total(life.down)))
		}
		return nil
	})
	n.record("CPU of next pod down, "+network, "ms", milliseconds(used)/nextPods)
	return err
}

// slowMetrics is the largest number of pods for which stock containerd is asked for metrics: it
// takes 100 ms for each pod.
const slowMetrics = 100

// calls makes the read-only calls, and those that only large nodes are asked for.
func calls(ctx context.Context, n *node) error {
	if err := lists(ctx, n); err != nil {
		return err
	}
	ofPod := func(i int) *runtimeapi.ListContainersRequest {
		uid := n.pods[i%len(n.pods)].config.Metadata.Uid
		return &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
			LabelSelector: map[string]string{"io.kubernetes.pod.uid": uid},
		}}
	}
	if err := repeat(ctx, n, n.client.ListContainers, "ListContainers of a pod", ofPod); err != nil {
		return err
	}
	if err := repeat(ctx, n, n.client.ListMetricDescriptors, "ListMetricDescriptors", same(&runtimeapi.ListMetricDescriptorsRequest{})); err != nil {
		return err
	}
	if n.role == reference && len(n.pods) > slowMetrics {
		return nil
	}
	return repeat(ctx, n, n.metrics, "StreamPodSandboxMetrics", same(&runtimeapi.StreamPodSandboxMetricsRequest{}))
}

// database measures the disk usage of containerd's databases.
func database(_ context.Context, n *node) error {
	var blocks int64
	err := filepath.WalkDir(n.bench.Path("root"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if filepath.Ext(path) != ".db" {
			return nil
		}
		info, err := os.Stat(path)
		if err == nil {
			blocks += info.Sys().(*syscall.Stat_t).Blocks
		}
		return err
	})
	n.record("databases", "KiB", float64(blocks)/2) // a block has 512 bytes
	return err
}
