// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

// logBytes is how much a container writes for the measurement of the log path.
const logBytes = 256 << 20

// lineSizes are the lengths of the lines, in bytes.
var lineSizes = [...]int{80, 1000}

// logCosts are what it takes to log: MiB of output per second, and seconds of CPU of the daemon and its shims per GiB.
type logCosts struct{ rate, cpu []float64 }

// measureLog has a container copy a file of lines, made before, to its output, and checks that each line is in the log,
// whole and in order.
func measureLog(ctx context.Context, bench *harness.Bench, client *harness.CRI, lineSize int, into *logCosts) error {
	lines := filepath.Join(bench.Root, "lines")
	count, err := writeLines(lines, lineSize)
	if err != nil {
		return err
	}
	config := bench.PodConfig(fmt.Sprint("log-", lineSize))
	pod, err := client.RunPod(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = client.RemovePod(context.WithoutCancel(ctx), pod) }()
	c := harness.ContainerConfig(config, "main", image.Busybox, "cat", "/lines")
	c.Mounts = []*runtimeapi.Mount{{HostPath: lines, ContainerPath: "/lines", Readonly: true}}
	before, err := cpuTime(bench.Daemon.PID())
	if err != nil {
		return err
	}
	id, err := client.Run(ctx, pod, config, c)
	if err != nil {
		return err
	}
	status, err := client.AwaitState(ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil {
		return err
	}
	after, err := cpuTime(bench.Daemon.PID())
	if err != nil {
		return err
	}
	info, err := os.Stat(status.LogPath)
	if err != nil {
		return err
	}
	took := info.ModTime().Sub(time.Unix(0, status.StartedAt))
	into.rate = append(into.rate, float64(count*lineSize)/(1<<20)/took.Seconds())
	into.cpu = append(into.cpu, (after-before).Seconds()/(float64(count*lineSize)/(1<<30)))
	return checkLines(status.LogPath, count, lineSize)
}

// writeLines makes a file of numbered lines, each lineSize bytes with its end.
func writeLines(path string, lineSize int) (count int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	filler := strings.Repeat("x", lineSize)
	count = logBytes / lineSize
	for i := range count {
		line := fmt.Sprintf("%010d ", i) + filler
		if _, err = w.WriteString(line[:lineSize-1] + "\n"); err != nil {
			break
		}
	}
	return count, errors.Join(err, w.Flush(), f.Close())
}

// checkLines finds a line that is lost, doubled or torn.
func checkLines(path string, count, lineSize int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(make([]byte, 1<<20), 1<<20)
	next := 0
	for ; scanner.Scan(); next++ {
		fields := bytes.SplitN(scanner.Bytes(), []byte{' '}, 5)
		if len(fields) != 5 || string(fields[2]) != "F" {
			return fmt.Errorf("log: line %d is torn: %.80q", next, scanner.Bytes())
		}
		if n, err := strconv.Atoi(string(fields[3])); err != nil || n != next {
			return fmt.Errorf("log: line %d where %d should be", n, next)
		}
		if got := len(fields[3]) + 1 + len(fields[4]) + 1; got != lineSize {
			return fmt.Errorf("log: line %d has %d bytes, want %d", next, got, lineSize)
		}
	}
	if next != count {
		return fmt.Errorf("log: %d lines, want %d", next, count)
	}
	return scanner.Err()
}

// cpuTime is what the daemon and all shims have used so far.
func cpuTime(daemon int) (time.Duration, error) {
	const ticks = 100 // per second, USER_HZ
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var sum int
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		pid, _ := strconv.Atoi(strings.TrimSpace(string(stat[:open])))
		if pid != daemon && !strings.HasPrefix(string(stat[open+1:end]), "containerd-shim") {
			continue
		}
		fields := strings.Fields(string(stat[end+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		sum += user + system
	}
	return time.Duration(sum) * time.Second / ticks, nil
}
