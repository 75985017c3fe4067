// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// load is a workload for a daemon that is measured.
type load struct {
	name       string // matched by -rows
	run        func(ctx context.Context, s *session) error
	tracing    bool     // the daemon runs under strace
	counting   bool     // system calls of the daemon are counted
	once       bool     // in the first round only
	containerd bool     // needs containerd: peers do not take part
	variants   []string // contestants that take part beside the reference and the subject
}

// loads returns all loads, in the order of the table.
func loads() []load {
	return []load{
		{name: "churn-host", run: churnHost},
		{name: "churn-cni", run: churnCNI},
		{name: "fill-host", run: fillHost},
		{name: "fill-cni", run: fillCNI},
		{name: "flight", run: podsInFlight},
		{name: "exec", run: execs, variants: []string{fastExec}},
		{name: "count", run: countAll, counting: true},
		{name: "node"}, // see stages
		{name: "log", run: logs},
		{name: "pull", run: pulls(), containerd: true},
		{name: "life", run: countLife, tracing: true, once: true, containerd: true},
	}
}

// chooseLoads returns the loads whose names match, and for a full node the stages whose names
// match.
func chooseLoads(only *regexp.Regexp) []load {
	var chosen []load
	for _, l := range loads() {
		if l.run == nil {
			l = nodeLoad(only)
		} else if !only.MatchString(l.name) {
			continue
		}
		if l.run != nil {
			chosen = append(chosen, l)
		}
	}
	return chosen
}

func loadNames() []string {
	var names []string
	for _, l := range loads() {
		if l.run != nil {
			names = append(names, l.name)
			continue
		}
		for _, s := range stages() {
			names = append(names, s.name())
		}
	}
	return slices.Compact(names)
}

// session is a daemon that was just started and its client, for one load.
type session struct {
	bench      *harness.Bench
	client     *harness.CRI
	contestant string // name
	role       role
	load       string // name
	round      int    // from 0
	into       *results
}

// record adds a sample for a row of the table.
func (s *session) record(row, unit string, value float64) {
	s.into.add(s, row, 0, unit, value)
}

// measure starts the daemon, runs one load and ends with the leak check. Leaks are recorded in the
// results, so that the other loads still run.
func (c contestant) measure(ctx context.Context, l load, round int, into *results) error {
	options := c.options
	options.Measure = harness.Measure{Tmpfs: true, CPU: true, Count: l.counting, Trace: l.tracing}
	bench, err := harness.New(ctx, options)
	if err != nil {
		return err
	}
	s := &session{bench: bench, contestant: c.name, role: c.role, load: l.name, round: round, into: into}
	err = s.run(ctx, l)
	// The cleanup must also run after an interrupt.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		err = fmt.Errorf("%w\nend of the daemon's log:\n%s", err, bench.Daemon.LogTail(10))
		return errors.Join(err, bench.RemovePods(ctx), bench.Close(ctx))
	}
	if err := bench.Close(ctx); err != nil {
		into.leaks = append(into.leaks, fmt.Errorf("%s: %s: %w", c.name, l.name, err))
	}
	return nil
}

func (s *session) run(ctx context.Context, l load) error {
	var err error
	if s.client, err = s.bench.CRI(); err != nil {
		return err
	}
	// A load may replace the client.
	defer func() { s.client.Close() }()
	if err := s.client.Pull(ctx, image.Busybox); err != nil {
		return err
	}
	return l.run(ctx, s)
}

// recordCPU runs work and records the CPU time that it uses, divided by units.
func (s *session) recordCPU(ctx context.Context, row string, units int, work func() error) error {
	used, err := s.cpuOf(ctx, work)
	if err == nil {
		s.record(row, "ms", milliseconds(used)/float64(units))
	}
	return err
}

// cpuOf runs work and returns the CPU time that the daemon and everything that it starts use for
// it. It waits until they have come to rest, before and after: work that a daemon defers belongs to
// the call that caused it.
func (s *session) cpuOf(ctx context.Context, work func() error) (time.Duration, error) {
	before, err := s.restingCPU(ctx)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := s.restingCPU(ctx)
	return after - before, err
}

const (
	restFor   = 100 * time.Millisecond
	restLoad  = 2 * time.Millisecond // of CPU in restFor
	restTries = 30
)

// restingCPU returns the CPU time once the daemon and its helpers are at rest, or after restTries
// times restFor: stock containerd reads the statistics of all containers every second.
func (s *session) restingCPU(ctx context.Context) (time.Duration, error) {
	last, err := s.bench.Meter.CPUTime()
	for range restTries {
		if err != nil {
			break
		}
		select {
		case <-time.After(restFor):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now time.Duration
		if now, err = s.bench.Meter.CPUTime(); now-last < restLoad {
			return now, err
		}
		last = now
	}
	return last, err
}
