// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"regexp"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

// stage is what is measured on a node that has so many pods.
type stage struct {
	what    string
	pods    int
	measure func(ctx context.Context, n *node) error
}

// stages are in the order of a node that fills up.
func stages() []stage {
	return []stage{
		{"memory", 0, emptyDaemon},
		{"lists", 10, lists},
		{"memory", 40, memory},
		{"lists", 50, lists},
		{"lists", 100, lists},
		{"memory", 100, memory},
		{"restart", 100, restart},
	}
}

// name is what -rows matches.
func (s stage) name() string { return fmt.Sprintf("%s-%d", s.what, s.pods) }

// nodeLoad fills a node with pods, and measures at the stages whose names match.
func nodeLoad(only *regexp.Regexp) load {
	var chosen []stage
	for _, s := range stages() {
		if only.MatchString(s.name()) {
			chosen = append(chosen, s)
		}
	}
	l := load{name: "node"}
	if len(chosen) == 0 {
		return l
	}
	l.run = func(ctx context.Context, s *session) error {
		n := &node{session: s}
		for _, stage := range chosen {
			if err := n.fill(ctx, stage.pods); err != nil {
				return err
			}
			progress("  %s", stage.name())
			if err := stage.measure(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", stage.name(), err)
			}
		}
		return n.clear(ctx)
	}
	return l
}

// node is a daemon with pods that stay, on the CNI network, each with one container.
type node struct {
	*session
	empty      usage    // of the daemon before its first pod
	pods       []string // their ids
	containers []string
}

// guest is the name of the process of every container on a node: all others of the bench are the runtime's.
const guest = "sleep"

// fill runs pods until there are so many.
func (n *node) fill(ctx context.Context, count int) error {
	from := len(n.pods)
	n.pods = append(n.pods, make([]string, count-from)...)
	n.containers = append(n.containers, make([]string, count-from)...)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i := from; i < count; i++ {
		group.Go(func() (err error) {
			config := n.bench.PodConfig(fmt.Sprint("pod-", i))
			if n.pods[i], err = n.client.RunPod(ctx, config); err != nil {
				return err
			}
			n.containers[i], err = n.client.Run(ctx, n.pods[i], config,
				harness.ContainerConfig(config, "main", image.Busybox, guest, "100000"))
			return err
		})
	}
	return group.Wait()
}

// clear removes all pods.
func (n *node) clear(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i, pod := range n.pods {
		group.Go(func() error {
			_, err := n.client.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: n.containers[i]})
			if err != nil {
				return err
			}
			return n.client.RemovePod(ctx, pod)
		})
	}
	return group.Wait()
}
