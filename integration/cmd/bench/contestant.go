// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// contestant is a daemon that takes part in a comparison.
type contestant struct {
	name    string
	role    role
	options harness.Options
}

// role is what the table does with the samples of a contestant.
type role int

const (
	reference role = iota // ratios are to its medians
	subject               // its ratios are judged by the goals
	again                 // the subject once more: its ratio to the subject shows the noise (A/A)
	variant               // the subject with an option: lines of its own
	peer                  // another runtime: a column of its own
)

// limit is the contestant of the loads that measure lower limits: no daemon can be faster with the
// same programs.
const limit = "limit"

// Variants of containerd-lite.
const (
	sharingNode = "Sharing node"
	fastExec    = "FastExec"
)

// comparison is the set of contestants of a run of the bench.
type comparison struct {
	contestants []contestant
	judged      bool // by the goals of the project
}

// againstStock compares containerd-lite with stock containerd, and with peers also with CRI-O.
func againstStock(environment harness.Options, peers bool) comparison {
	stock, lite, crio := environment, environment, environment
	stock.Daemon, lite.Daemon, crio.Daemon = harness.Stock, harness.Lite, harness.Crio
	node := lite
	node.Sharing = `"node"`
	fast := lite
	fast.FastExec = true
	c := comparison{
		contestants: []contestant{
			{"containerd", reference, stock}, {"containerd-lite", subject, lite}, {"A/A", again, lite}, {sharingNode, variant, node},
			{fastExec, variant, fast},
		},
		judged: true,
	}
	if peers {
		c.contestants = append(c.contestants, contestant{"CRI-O", peer, crio})
	}
	return c
}

// againstBase compares two builds of containerd-lite. bin is the directory of the other one.
func againstBase(environment harness.Options, bin string) comparison {
	base, lite := environment, environment
	base.Daemon, lite.Daemon = harness.Lite, harness.Lite
	base.Bin = bin
	return comparison{contestants: []contestant{{"base", reference, base}, {"now", subject, lite}, {"A/A", again, lite}}}
}

// limits measures what the daemon cannot be faster than.
func limits(environment harness.Options) comparison {
	environment.Daemon = harness.Lite
	return comparison{contestants: []contestant{{limit, subject, environment}}}
}

// of returns the contestants that a load runs on, in the order in which they run in a round. The
// order rotates and is reversed every other time, because a contestant finds a disk that is still
// busy from the one before.
func (c comparison) of(l load, round int) []contestant {
	chosen := slices.DeleteFunc(slices.Clone(c.contestants), func(one contestant) bool {
		switch one.role {
		case variant:
			return !slices.Contains(l.variants, one.name)
		case again:
			return l.once
		case peer:
			return l.containerd
		default:
			return false
		}
	})
	first := round / 2 % len(chosen)
	chosen = slices.Concat(chosen[first:], chosen[:first])
	if round%2 == 1 {
		slices.Reverse(chosen)
	}
	return chosen
}

// name returns the name of the contestant with a role, or "".
func (c comparison) name(r role) string {
	if names := c.names(r); len(names) > 0 {
		return names[0]
	}
	return ""
}

// names returns the names of the contestants with a role.
func (c comparison) names(r role) []string {
	var names []string
	for _, one := range c.contestants {
		if one.role == r {
			names = append(names, one.name)
		}
	}
	return names
}
