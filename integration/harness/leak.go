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

// settle is how long a leak check waits for what is on its way out: the kernel frees namespaces and
// cgroups, and containerd collects garbage, a moment after the call that caused it.
const settle = time.Minute

// maxReported is how many lines a leak check says at most.
const maxReported = 20

// State is what was found on the machine and in the daemon: a kind of thing, then the things of
// that kind.
type State map[string][]string

// othersEnd are the kinds of which other programs' things may end while a test runs.
var othersEnd = [...]string{"cgroup", "file"}

// Diff says, one line each, what differs between two states.
func (s State) Diff(now State) []string {
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(merge(s, now))) {
		before, after := count(s[kind]), count(now[kind])
		for _, item := range slices.Sorted(maps.Keys(merge(before, after))) {
			switch {
			case after[item] > before[item]:
				lines = append(lines, fmt.Sprintf("left behind: %s %s", kind, item))
			case after[item] < before[item] && !slices.Contains(othersEnd[:], kind):
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

// State looks at the machine and at the daemon, which must run.
func (b *Bench) State(ctx context.Context) (State, error) {
	host, err := b.hostState()
	if err != nil {
		return nil, err
	}
	client, err := b.Containerd()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	daemon, err := daemonState(ctx, client)
	if err != nil {
		return nil, err
	}
	maps.Copy(host, daemon)
	return host, nil
}

// CheckLeaks compares the machine and the daemon with what they were when the daemon had just
// started, with no pod: an error lists what was left behind.
func (b *Bench) CheckLeaks(ctx context.Context) error { return b.CheckSince(ctx, b.baseline) }

// CheckSince is CheckLeaks from another point in time than the start.
func (b *Bench) CheckSince(ctx context.Context, before State) error {
	return before.Await(ctx, b.State)
}

// Await looks until everything is as before, or for longer than what is on its way out takes. An
// error lists what differs.
func (s State) Await(ctx context.Context, look func(context.Context) (State, error)) error {
	deadline := time.Now().Add(settle)
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
