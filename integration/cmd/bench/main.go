// SPDX-License-Identifier: Apache-2.0

// Bench compares the cost and the latency of pods on containerd-lite and on stock containerd, with
// the same runc, CNI plugins and images. It prints a table in Markdown with the goals of the
// project and whether each is met. Slowness is no error. docs/performance.md explains how to read
// the table.
//
// Times on one machine drift by more than the differences to be measured. So the two daemons
// alternate, one [load] after the other, for several rounds, and the medians over all rounds are
// compared. A load gets a [session], which is a fresh daemon with a client, and records samples by
// row of the table. Everything runs in one goroutine, except requests that a load makes
// concurrently on purpose.
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
	rounds := flag.Int("rounds", 5, "how often each load runs on each daemon")
	rows := flag.String("rows", "", "run only loads that this `regexp` matches, of:\n"+strings.Join(loadNames(), ", "))
	raw := flag.Bool("raw", false, "measure only the lower limits: runc and the CNI plugins without a daemon")
	flag.Parse()
	if err := run(*rounds, *rows, *raw); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(rounds int, rows string, raw bool) error {
	only, err := regexp.Compile(rows)
	if err != nil {
		return err
	}
	chosen := chooseLoads(only)
	if raw {
		chosen = rawLoads()
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no load matches %q (available: %s)", rows, strings.Join(loadNames(), ", "))
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
	results := &results{}
	err = measure(ctx, rounds, chosen, results)
	// After an error, print the results measured before it.
	return errors.Join(err, errors.Join(results.leaks...), results.print(os.Stdout, raw))
}

func measure(ctx context.Context, rounds int, loads []load, into *results) error {
	for round := range rounds {
		for _, l := range loads {
			if l.once && round > 0 {
				continue
			}
			for _, d := range inTurn(l.daemons(), round) {
				progress("round %d of %d: %s: %s", round+1, rounds, l.name, d.name)
				if err := d.measure(ctx, l, round, into); err != nil {
					return fmt.Errorf("%s: %s: %w", d.name, l.name, err)
				}
			}
		}
	}
	return nil
}

// inTurn returns the daemons in the order of a round. The order is reversed each time, because the
// second daemon finds a disk that is still busy from the first.
func inTurn(daemons []daemon, round int) []daemon {
	if round%2 == 1 {
		slices.Reverse(daemons)
	}
	return daemons
}

// progress prints a line about the progress.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
