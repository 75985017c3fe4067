// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// settleFor is how long a node idles, with the poll of a kubelet, before its memory is measured:
// the shim of stock containerd returns memory to the kernel every 30 seconds.
const settleFor = 31 * time.Second

// settle waits until settleFor has passed since the last new pod.
func (n *node) settle(ctx context.Context) error {
	return poll(ctx, n.client, byCAdvisor, settleFor-time.Since(n.filled))
}

// usage is the memory of processes in KiB.
type usage struct{ pss, rss float64 }

func (u usage) plus(v usage) usage { return usage{u.pss + v.pss, u.rss + v.rss} }

// memory measures the daemon and its helpers after the node has settled.
func memory(ctx context.Context, n *node) error {
	if err := n.settle(ctx); err != nil {
		return err
	}
	daemon, err := memoryOf(n.bench.Daemon.PID())
	if err != nil {
		return err
	}
	pids, err := helpers(n.bench)
	if err != nil {
		return err
	}
	all, err := memoryOf(pids...)
	if err != nil {
		return err
	}
	pods := float64(len(n.pods))
	for _, m := range []struct {
		name  string
		value float64
	}{
		{"helpers' memory per pod, PSS", all.pss / pods},
		{"helpers' memory per pod, RSS", all.rss / pods},
		{"daemon's memory per pod, PSS", daemon.pss / pods},
		{"daemon's memory per pod, RSS", daemon.rss / pods},
	} {
		n.record(m.name, "KiB", m.value)
	}
	return nil
}

// memoryOf returns the sum of the memory of processes. A process that exits meanwhile counts as
// zero.
func memoryOf(pids ...int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		u, err := smaps(pid)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return usage{}, err
		}
		sum = sum.plus(u)
	}
	return sum, nil
}

// smaps reads the kernel's sum over all mappings of a process (proc_pid_smaps_rollup).
func smaps(pid int) (usage, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return usage{}, err
	}
	defer f.Close()
	var u usage
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		key, value, _ := strings.Cut(scanner.Text(), ":")
		target := map[string]*float64{"Pss": &u.pss, "Rss": &u.rss}[key]
		if target == nil {
			continue
		}
		if _, err := fmt.Sscan(value, target); err != nil {
			return usage{}, fmt.Errorf("process %d: smaps_rollup: %s: %w", pid, key, err)
		}
	}
	return u, scanner.Err()
}
