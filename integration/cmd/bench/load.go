// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// load is a workload for a daemon that is measured.
type load struct {
	name    string // matched by -rows
	run     func(ctx context.Context, s *session) error
	tracing bool // the daemon runs under strace
	once    bool // in the first round only
	raw     bool // a limit: the daemon only provides a bundle and a network
	sharing bool // also for containerd-lite with pods that share a shim
}

// loads returns all loads, in the order of the table.
func loads() []load {
	return []load{
		{name: "pods-host", run: hostPods},
		{name: "pods-cni", run: cniPods},
		{name: "pods-flight", run: podsInFlight},
		{name: "exec", run: execs},
		{name: "node"}, // see stages
		{name: "log", run: logs},
		{name: "pull", run: pulls()},
		{name: "life", run: countLife, tracing: true, once: true},
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

// daemon is one of the compared daemons.
type daemon struct {
	name    string
	options harness.Options
}

// Names of the compared daemons.
const (
	stock  = "containerd"
	lite   = "containerd-lite"
	shared = "containerd-lite, Sharing node"
)

// daemons returns the daemons for this load, in the order in which they run.
func (l load) daemons() []daemon {
	if l.raw {
		return []daemon{{limit, harness.Options{Daemon: harness.Lite}}}
	}
	all := []daemon{
		{stock, harness.Options{Daemon: harness.Stock, Trace: l.tracing}},
		{lite, harness.Options{Daemon: harness.Lite, Trace: l.tracing}},
	}
	if l.sharing {
		all = append(all, daemon{shared, harness.Options{Daemon: harness.Lite, Sharing: `"node"`}})
	}
	return all
}

// session is a daemon that was just started and its client, for one load.
type session struct {
	bench  *harness.Bench
	client *harness.CRI
	daemon string
	round  int // from 0
	into   *results
}

// record adds a sample for a row of the table.
func (s *session) record(row, unit string, value float64) { s.into.add(row, unit, s.daemon, value) }

// measure starts the daemon, runs one load and ends with the leak check. Leaks are recorded in the
// results, so that the other loads still run.
func (d daemon) measure(ctx context.Context, l load, round int, into *results) error {
	bench, err := harness.New(ctx, d.options)
	if err != nil {
		return err
	}
	s := &session{bench: bench, daemon: d.name, round: round, into: into}
	err = s.run(ctx, l)
	// The cleanup must also run after an interrupt.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		err = fmt.Errorf("%w\nend of the daemon's log:\n%s", err, bench.Daemon.LogTail(10))
		return errors.Join(err, bench.RemovePods(ctx), bench.Close(ctx))
	}
	if err := bench.Close(ctx); err != nil {
		into.leaks = append(into.leaks, fmt.Errorf("%s: %s: %w", d.name, l.name, err))
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
