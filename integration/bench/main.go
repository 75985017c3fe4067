// SPDX-License-Identifier: Apache-2.0

// Bench compares containerd-lite with stock containerd: how long a pod with one container takes from
// RunPodSandbox to a started container, and from there to gone, on the same CNI network, and what logging costs.
// Times of one machine drift by more than what there is to see, so the two run in turn, several times, and
// medians are compared.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

const (
	rounds = 3  // in each of which both daemons run
	pods   = 20 // per round and daemon, one after the other
)

// results are those of one daemon, over all rounds.
type results struct {
	up, down []float64 // ms
	logs     [len(lineSizes)]logCosts
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	lite, stock := &results{}, &results{}
	for round := range rounds {
		fmt.Printf("round %d of %d: %d pods, and a log, with each daemon\n", round+1, rounds, pods)
		if err := errors.Join(measure(ctx, harness.Lite, lite), measure(ctx, harness.Stock, stock)); err != nil {
			return err
		}
	}
	fmt.Printf("\n%-44s %12s %16s %8s\n", "medians", "containerd", "containerd-lite", "ratio")
	row("pod up: run, create, start (ms)", stock.up, lite.up)
	row("pod down: stop, remove (ms)", stock.down, lite.down)
	for i, size := range lineSizes {
		row(fmt.Sprintf("log, lines of %d bytes (MiB/s)", size), stock.logs[i].rate, lite.logs[i].rate)
		row(fmt.Sprintf("log, lines of %d bytes (CPU seconds per GiB)", size), stock.logs[i].cpu, lite.logs[i].cpu)
	}
	return nil
}

func row(what string, stock, lite []float64) {
	a, b := median(stock), median(lite)
	fmt.Printf("%-44s %12.1f %16.1f %7.2fx\n", what, a, b, b/a)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measure starts a daemon, runs pods on it, and has one log; the first pod, which makes the bridge, does not count.
func measure(ctx context.Context, daemon string, into *results) error {
	bench, err := harness.New(ctx, harness.Options{Daemon: daemon})
	if err != nil {
		return err
	}
	client, err := bench.CRI()
	if err != nil {
		return errors.Join(err, bench.Close(ctx))
	}
	err = client.Pull(ctx, image.Busybox)
	for i := 0; i <= pods && err == nil; i++ {
		var up, down time.Duration
		up, down, err = once(ctx, bench, client)
		if i > 0 {
			into.up, into.down = append(into.up, milliseconds(up)), append(into.down, milliseconds(down))
		}
	}
	for i := 0; i < len(lineSizes) && err == nil; i++ {
		err = measureLog(ctx, bench, client, lineSizes[i], &into.logs[i])
	}
	return errors.Join(err, client.Close(), bench.Close(context.WithoutCancel(ctx)))
}

func once(ctx context.Context, bench *harness.Bench, client *harness.CRI) (up, down time.Duration, err error) {
	config := bench.PodConfig("pod")
	start := time.Now()
	pod, err := client.RunPod(ctx, config)
	if err != nil {
		return 0, 0, err
	}
	_, err = client.Run(ctx, pod, config, harness.ContainerConfig(config, "main", image.Busybox, "sleep", "1000"))
	up = time.Since(start)
	start = time.Now()
	// Also after an error: nothing stays.
	err = errors.Join(err, client.RemovePod(context.WithoutCancel(ctx), pod))
	return up, time.Since(start), err
}
