// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

// load is one thing that is done to a daemon and measured.
type load struct {
	name    string // what -rows matches
	run     func(ctx context.Context, s *session) error
	tracing bool // the daemon runs under strace
	once    bool // in the first round only
	raw     bool // a limit: the daemon only lends a bundle and a network
	sharing bool // also for containerd-lite whose pods share a shim
}

// loads are all there are, in the order of the table.
func loads() []load {
	return []load{
		{name: "pods-host", run: hostPods},
		{name: "pods-cni", run: cniPods},
		{name: "pods-flight", run: podsInFlight},
		{name: "exec", run: execs},
		{name: "node"}, // of stages
		{name: "log", run: logs},
		{name: "pull", run: pulls()},
		{name: "life", run: countLife, tracing: true, once: true},
	}
}

// chooseLoads returns the loads, and of a full node the stages, whose names match.
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

// daemon is one of those that are compared.
type daemon struct {
	name    string
	options harness.Options
}

// Those that are compared.
const (
	stock  = "containerd"
	lite   = "containerd-lite"
	shared = "containerd-lite, Sharing node"
)

// daemons are those that the load is for, in their turn.
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

// session is one daemon that just started and its client, for one load.
type session struct {
	bench  *harness.Bench
	client *harness.CRI
	daemon string
	round  int // from 0
	into   *results
}

// record keeps what was measured for a row of the table.
func (s *session) record(row, unit string, value float64) { s.into.add(row, unit, s.daemon, value) }

// measure starts the daemon, runs one load, and ends with the leak check. What that finds is kept
// with the results: the other loads are worth measuring all the same.
func (d daemon) measure(ctx context.Context, l load, round int, into *results) error {
	bench, err := harness.New(ctx, d.options)
	if err != nil {
		return err
	}
	s := &session{bench: bench, daemon: d.name, round: round, into: into}
	err = s.run(ctx, l)
	// Whoever interrupts the bench leaves nothing behind.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, bench.Daemon.LogTail(10))
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
	// A load may take another client.
	defer func() { s.client.Close() }()
	if err := s.client.Pull(ctx, image.Busybox); err != nil {
		return err
	}
	return l.run(ctx, s)
}
