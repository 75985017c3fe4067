// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// stormPods is the number of pods that a kubelet allows by default.
const stormPods = 110

// storm starts all pods of a node at the same time, as a kubelet does after a reboot: no pod has
// run before, and the images are on the node. A kubelet polls the daemon meanwhile.
func storm(ctx context.Context, s *session) error {
	n := &node{session: s, perPod: scalePerPod}
	var failures []error
	var mu sync.Mutex // protects n.pods and failures
	err := s.recordCPU(ctx, "CPU of pod up, start storm", stormPods, func() error {
		_, err := s.besideKubelet(ctx, func() error {
			var running sync.WaitGroup
			start := time.Now()
			for i := range stormPods {
				life := &podLife{client: s.client, config: s.podConfig(cniNetwork, fmt.Sprint("pod-", i)), count: n.perPod}
				running.Go(func() {
					err := life.start(ctx)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						failures = append(failures, err)
						return
					}
					n.pods = append(n.pods, life)
					s.record("pod up, start storm", "ms", milliseconds(total(life.up)))
				})
			}
			running.Wait()
			s.record(fmt.Sprintf("start storm of %d pods, until all run", stormPods), "ms", milliseconds(time.Since(start)))
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	s.record("pods that did not start, start storm", "pods", float64(len(failures)))
	for _, failure := range failures {
		progress("  %s: %v", s.contestant, failure)
	}
	if err := n.shrink(ctx, 0); err != nil {
		return err
	}
	return s.bench.RemovePods(ctx) // those that did not start
}
