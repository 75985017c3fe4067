// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stage is a measurement on a node with a given number of pods.
type stage struct {
	what       string
	pods       int
	measure    func(ctx context.Context, n *node) error
	on         []string // variants that it is measured on as well, or instead with only
	only       bool
	containerd bool // not measured on peers
	once       bool // only in the first round: it takes long, and no goal depends on it
}

// stages returns the stages in the order in which the node fills up.
func stages() []stage {
	node := []string{sharingNode}
	return []stage{
		{what: "lists", pods: 10, measure: lists},
		{what: "memory", pods: 40, measure: memory, on: node},
		{what: "lists", pods: 50, measure: lists},
		{what: "lists", pods: 100, measure: lists},
		{what: "orphan", pods: 100, measure: orphan, containerd: true},
		{what: "idle", pods: 100, measure: idle},
		{what: "memory", pods: 100, measure: memory},
		{what: "memory", pods: 100, measure: memory, on: node, only: true, once: true},
		{what: "idle-cri", pods: 100, measure: idleByCRI, once: true},
		{what: "restart", pods: 100, measure: restart},
	}
}

// name returns the name that -rows matches.
func (s stage) name() string { return fmt.Sprintf("%s-%d", s.what, s.pods) }

// nodeLoad returns a load that fills a node with pods and measures at the stages whose names match.
// If no stage matches, its run is nil.
func nodeLoad(only *regexp.Regexp) load {
	l := load{name: "node"}
	var chosen []stage
	for _, s := range stages() {
		if only.MatchString(s.name()) {
			chosen = append(chosen, s)
			l.variants = append(l.variants, s.on...)
		}
	}
	if len(chosen) > 0 {
		l.run = func(ctx context.Context, s *session) error { return fillNode(ctx, s, chosen) }
	}
	return l
}

// takes reports whether the stage is measured in a session.
func (s stage) takes(of *session) bool {
	if s.once && of.round > 0 {
		return false
	}
	switch of.role {
	case variant:
		return slices.Contains(s.on, of.contestant)
	case peer:
		return !s.only && !s.containerd
	default:
		return !s.only
	}
}

func fillNode(ctx context.Context, s *session, chosen []stage) error {
	n := &node{session: s}
	for _, stage := range chosen {
		if !stage.takes(s) {
			continue
		}
		if err := n.fill(ctx, stage.pods); err != nil {
			return err
		}
		progress("  %s", stage.name())
		if err := stage.measure(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", stage.name(), err)
		}
	}
	return n.shrink(ctx, 0)
}

// node is a daemon with long-running pods on the CNI network.
type node struct {
	*session
	perPod  int  // containers in each pod; 0 means one
	reads   int  // how often each call is made; 0 means defaultReads
	callCPU bool // the CPU time of calls is recorded, too

	pods   []*podLife
	extra  int       // pods that have come beside them and are gone
	filled time.Time // time of the last new pod
}

// record adds a sample for a row of the table that has the number of pods in its name.
func (n *node) record(row, unit string, value float64) {
	n.into.add(n.session, row, len(n.pods), unit, value)
}

// containers returns the IDs of the containers of all pods.
func (n *node) containers() []string {
	var all []string
	for _, pod := range n.pods {
		all = append(all, pod.containers...)
	}
	return all
}

// workload is the process name of every container on a node: all other processes of the bench
// belong to the runtime.
const workload = "sleep"

// fill runs pods until there are count.
func (n *node) fill(ctx context.Context, count int) error {
	from := len(n.pods)
	if from >= count {
		return nil
	}
	for i := from; i < count; i++ {
		n.pods = append(n.pods, &podLife{client: n.client, config: n.bench.PodConfig(fmt.Sprint("pod-", i)), count: n.perPod})
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for _, pod := range n.pods[from:] {
		group.Go(func() error { return pod.start(ctx) })
	}
	err := group.Wait()
	n.filled = time.Now()
	return err
}

// shrink removes pods until there are count.
func (n *node) shrink(ctx context.Context, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for _, pod := range n.pods[count:] {
		pod.client = n.client // a restart of the daemon replaces it
		group.Go(func() error { return pod.end(ctx) })
	}
	err := group.Wait()
	n.pods = n.pods[:count]
	return err
}
