// SPDX-License-Identifier: Apache-2.0

// Bench compares the cost and the latency of pods on containerd-lite and on stock containerd, with
// the same runc, CNI plugins and images. It prints a table in Markdown with the goals of the
// project and whether each is met. Slowness is no error. docs/performance.md explains how to read
// the table.
//
// Times on one machine drift by more than the differences to be measured. So the contestants
// alternate, one [load] after the other, for several rounds, and the medians over all rounds are
// compared. One contestant takes part twice (A/A). A load ends when the confidence intervals of its
// ratios are narrow, or after the last round. It gets a [session], which is a fresh daemon with a
// client, and records samples by row of the table. Everything runs in one goroutine, except
// requests that a load makes concurrently on purpose.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 12, "how often each load runs on each daemon, at most")
	flag.StringVar(&o.rows, "rows", "", "run only loads that this `regexp` matches, of:\n"+strings.Join(loadNames(), ", "))
	flag.BoolVar(&o.raw, "raw", false, "measure only the lower limits: runc and the CNI plugins without a daemon")
	flag.StringVar(&o.base, "base", "", "compare with the containerd-lite in this `directory` instead of stock containerd")
	flag.BoolVar(&o.peers, "peers", false, "measure CRI-O, too (integration/tools.sh peers)")
	flag.StringVar(&o.plugin, "plugin", "", "install this `program` as an NRI plugin of each daemon")
	flag.StringVar(&o.scale, "scale", "", "measure nodes with these `numbers` of pods, and a start storm, instead of the loads above.\n"+
		"A round of 10,100,250,500 takes seven minutes for each containerd-lite, and longer for stock containerd")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	rounds     int
	rows, base string
	raw, peers bool
	plugin     string
	scale      string
}

// comparison returns what is compared. The cgroup driver and the OCI runtime come from the
// environment.
func (o options) comparison() comparison {
	environment := harness.FromEnv()
	environment = harness.Options{
		CgroupDriver: environment.CgroupDriver, Runtime: environment.Runtime,
		NRI: harness.NRI{Enabled: o.plugin != "", Plugin: o.plugin},
	}
	switch {
	case o.raw:
		return limits(environment)
	case o.scale != "":
		return scaleComparison(environment)
	case o.base != "":
		return againstBase(environment, o.base)
	default:
		return againstStock(environment, o.peers)
	}
}

// loads returns the loads whose names match. sizes are those of -scale.
func (o options) loads(only *regexp.Regexp, sizes []int) []load {
	switch {
	case o.raw:
		return rawLoads()
	case len(sizes) > 0:
		return slices.DeleteFunc(scaleLoads(sizes), func(l load) bool { return !only.MatchString(l.name) })
	default:
		return chooseLoads(only)
	}
}

func run(o options) error {
	only, err := regexp.Compile(o.rows)
	if err != nil {
		return err
	}
	sizes, err := parseSizes(o.scale)
	if err != nil {
		return err
	}
	chosen := o.loads(only, sizes)
	if len(chosen) == 0 {
		return fmt.Errorf("no load matches %q (available: %s)", o.rows, strings.Join(loadNames(), ", "))
	}
	progress("waiting until no other bench runs on this host")
	lock, err := harness.LockMachine()
	if err != nil {
		return err
	}
	defer lock.Close()
	// Up to here a signal may end the process: there is nothing to clean up yet.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	remove, err := ownBlockGroups()
	if err != nil {
		return err
	}
	defer remove()
	results := &results{}
	t := table{o.comparison()}
	err = t.measure(ctx, o.rounds, chosen, results)
	// After an error, print the results measured before it.
	rows := results.rows
	if len(sizes) > 0 {
		growth := growthTable{t.comparison, sizes}
		err = errors.Join(err, growth.print(os.Stdout, rows))
		rows = growth.compared(rows)
	}
	return errors.Join(err, errors.Join(results.leaks...), t.print(os.Stdout, rows))
}

// fewRounds is the smallest number of rounds of a load: fewer say little about how much they
// differ.
const fewRounds = 4

// measure runs the loads in rounds. A load whose lines are precise enough leaves.
func (t table) measure(ctx context.Context, rounds int, loads []load, into *results) error {
	for round := range rounds {
		for _, l := range loads {
			if l.once && round > 0 || round >= fewRounds && into.settled(l.name, t) {
				continue
			}
			for _, c := range t.of(l, round) {
				progress("round %d of %d: %s: %s", round+1, rounds, l.name, c.name)
				if err := c.measure(ctx, l, round, into); err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, l.name, err)
				}
			}
		}
	}
	return nil
}

// progress prints a line about the progress.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
