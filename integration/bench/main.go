// SPDX-License-Identifier: Apache-2.0

// Bench compares containerd-lite with stock containerd: how long a pod with one container takes from
// RunPodSandbox to a started container, and from there to gone, on the same CNI network. Times of one machine
// drift by more than what there is to see, so the two run in turn, several times, and medians are compared.
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

// times are those of one daemon, over all rounds.
type times struct{ up, down []time.Duration }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "log" {
		return runLog(ctx)
	}
	lite, stock := times{}, times{}
	for round := range rounds {
		fmt.Printf("round %d of %d: %d pods with each daemon\n", round+1, rounds, pods)
		if err := errors.Join(measure(ctx, harness.Lite, &lite), measure(ctx, harness.Stock, &stock)); err != nil {
			return err
		}
	}
	fmt.Printf("\n%-40s %14s %14s %8s\n", "median of "+fmt.Sprint(rounds*pods), "containerd", "containerd-lite", "ratio")
	row("pod up: run, create, start", stock.up, lite.up)
	row("pod down: stop, remove", stock.down, lite.down)
	return nil
}

func row(what string, stock, lite []time.Duration) {
	a, b := median(stock), median(lite)
	fmt.Printf("%-40s %11.1f ms %12.1f ms %7.2fx\n", what, milliseconds(a), milliseconds(b), float64(b)/float64(a))
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measure starts a daemon and runs pods on it; the first pod, which makes the bridge, does not count.
func measure(ctx context.Context, daemon string, into *times) error {
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
			into.up, into.down = append(into.up, up), append(into.down, down)
		}
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

func runLog(ctx context.Context) error {
	for _, size := range []int{80, 1000} {
		var lite, stock logTimes
		for range 3 {
			for daemon, into := range map[string]*logTimes{harness.Lite: &lite, harness.Stock: &stock} {
				bench, err := harness.New(ctx, harness.Options{Daemon: daemon})
				if err != nil {
					return err
				}
				client, err := bench.CRI()
				if err != nil {
					return err
				}
				err = client.Pull(ctx, image.Busybox)
				if err == nil {
					err = measureLog(ctx, bench, client, size, into)
				}
				if err := errors.Join(err, client.Close(), bench.Close(context.WithoutCancel(ctx))); err != nil {
					return err
				}
			}
		}
		slices.Sort(lite.rate)
		slices.Sort(stock.rate)
		slices.Sort(lite.cpu)
		slices.Sort(stock.cpu)
		fmt.Println(size, "rate stock", stock.rate, "lite", lite.rate, "cpu/GiB stock", stock.cpu, "lite", lite.cpu)
	}
	return nil
}
