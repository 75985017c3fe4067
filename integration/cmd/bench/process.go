// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// helpers returns the processes that a daemon keeps for its pods: shims, and processes of a pod
// that belong to no container.
func helpers(bench *harness.Bench) ([]int, error) {
	all, err := bench.Processes("")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, pid := range all {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(comm)) != workload {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// runtimeCPU returns the CPU time, user and system, that a daemon and its helpers have used so far.
// Programs that they started and that have exited are not included.
func runtimeCPU(bench *harness.Bench) (time.Duration, error) {
	pids, err := helpers(bench)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range append(pids, bench.Daemon.PID()) {
		used, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// cpuTime reads the CPU clock of a process (clock_getcpuclockid(3)). It has nanoseconds, whereas
// /proc has ticks: rounding a hundred shims to a tick each would hide the work of an idle node. A
// process that has exited counts as zero.
func cpuTime(pid int) (time.Duration, error) {
	const processClock = 2 // CPUCLOCK_SCHED of all threads
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|processClock), &t)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("process %d: CPU clock: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
