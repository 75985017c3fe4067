// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// leakTimeout is how long a leak check waits for resources that are being released: the kernel
// frees namespaces and cgroups, and containerd collects garbage, a moment after the call that
// caused it.
const leakTimeout = time.Minute

// maxReported is the maximum number of lines in the error of a leak check.
const maxReported = 20

// State lists the resources found on the host and in the daemon, by kind.
type State map[string][]string

// mayVanish are the kinds of resources that other programs may remove while a test runs.
var mayVanish = [...]string{"cgroup", "file"}

// Diff returns the differences between two states, one line each.
func (s State) Diff(now State) []string {
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(merge(s, now))) {
		before, after := count(s[kind]), count(now[kind])
		for _, item := range slices.Sorted(maps.Keys(merge(before, after))) {
			switch {
			case after[item] > before[item]:
				lines = append(lines, fmt.Sprintf("left behind: %s %s", kind, item))
			case after[item] < before[item] && !slices.Contains(mayVanish[:], kind):
				lines = append(lines, fmt.Sprintf("gone: %s %s", kind, item))
			}
		}
	}
	return lines
}

func count(items []string) map[string]int {
	counts := map[string]int{}
	for _, item := range items {
		counts[item]++
	}
	return counts
}

func merge[V any](a, b map[string]V) map[string]V {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]V{}
	}
	maps.Copy(both, b)
	return both
}

// State reads the state of the host and of the daemon, which must run.
func (b *Bench) State(ctx context.Context) (State, error) {
	host, err := b.hostState()
	if err != nil {
		return nil, err
	}
	daemon, err := b.Daemon.program.state(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(host, daemon)
	return host, nil
}

// CheckLeaks compares the host and the daemon with their state right after the start of the daemon,
// when there was no pod. The error lists the resources left behind.
func (b *Bench) CheckLeaks(ctx context.Context) error { return b.CheckSince(ctx, b.baseline) }

// CheckSince is CheckLeaks with another state to compare with.
func (b *Bench) CheckSince(ctx context.Context, before State) error {
	return before.Await(ctx, b.State)
}

// Await reads the state until it equals s, for leakTimeout at most. The error lists the
// differences.
func (s State) Await(ctx context.Context, look func(context.Context) (State, error)) error {
	deadline := time.Now().Add(leakTimeout)
	for {
		now, err := look(ctx)
		if err != nil {
			return fmt.Errorf("leak check: %w", err)
		}
		diff := s.Diff(now)
		if len(diff) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			if more := len(diff) - maxReported; more > 0 {
				diff = append(diff[:maxReported], fmt.Sprintf("and %d more", more))
			}
			return fmt.Errorf("leak check: %w", errors.New(strings.Join(diff, "\n")))
		}
		time.Sleep(100 * time.Millisecond)
	}
}
