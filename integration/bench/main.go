// SPDX-License-Identifier: Apache-2.0

// Bench compares containerd-lite with stock containerd: what a node pays and waits for its pods, on
// the same runc, CNI plugins and images. It prints a table in Markdown with the goals of the
// project, and says of each whether it is met; nothing here fails because something is slow.
// docs/performance.md says how to read it.
//
// Times of one machine drift by more than what there is to see, so the two run in turn, one [load]
// after the other, several times, and the medians over all rounds are compared. A load is one thing
// done to a daemon: it gets a [session], which is a fresh daemon with a client, and records what it
// measures by row of the table. Everything runs in one goroutine but for what a load does at the
// same time on purpose.
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

	"github.com/containerd-lite/containerd-lite/integration/harness"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each daemon gets each load")
	rows := flag.String("rows", "", "run only loads that this `regexp` matches, of:\n"+strings.Join(loadNames(), ", "))
	raw := flag.Bool("raw", false, "run none of these, but measure what no daemon can do faster: runc and the CNI plugins alone")
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
		return fmt.Errorf("no load matches %q: there are %s", rows, strings.Join(loadNames(), ", "))
	}
	progress("waiting until no other bench runs on this machine")
	lock, err := harness.LockMachine()
	if err != nil {
		return err
	}
	defer lock.Close()
	// Up to here a signal may end the process; from here on there is something to clean up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results := &results{}
	err = measure(ctx, rounds, chosen, results)
	// What was measured before an error is worth as much as ever.
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

// inTurn returns the daemons in the order of a round, which is the other way round each time: who
// comes second finds a disk that the first has kept busy.
func inTurn(daemons []daemon, round int) []daemon {
	if round%2 == 1 {
		slices.Reverse(daemons)
	}
	return daemons
}

// progress tells who waits what is going on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
